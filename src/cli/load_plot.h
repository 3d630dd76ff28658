/* load_plot.h - a report as a picture: throughput and time to first token over the load, as SVG.
 */
#ifndef WEFT_CLI_LOAD_PLOT_H
#define WEFT_CLI_LOAD_PLOT_H

#include "cli/load_report.h"

void load_plot_write(const load_report *r, buf *out);

#endif /* WEFT_CLI_LOAD_PLOT_H */
