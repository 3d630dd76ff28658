/* jinja_case_tables.h - the rows of jinja_case_tables.c.
 */
#ifndef WEFT_TEXT_JINJA_CASE_TABLES_H
#define WEFT_TEXT_JINJA_CASE_TABLES_H

#include "text/jinja_unicode.h"

typedef struct jinja_case_row {
    uint32_t cp;
    jinja_case to;
    uint32_t mapped[JINJA_CASE_CHARS_MAX]; /* filled up with 0 */
} jinja_case_row;

extern const jinja_case_row jinja_case_rows[];
extern const size_t jinja_case_row_count;

#endif /* WEFT_TEXT_JINJA_CASE_TABLES_H */
