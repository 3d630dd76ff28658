/* export.h - marks what libweft shows to other programs; all else is hidden. */
#ifndef WEFT_EXPORT_H
#define WEFT_EXPORT_H

#if defined(_WIN32)
#define WEFT_API
#else
#define WEFT_API __attribute__((visibility("default")))
#endif

#endif /* WEFT_EXPORT_H */
