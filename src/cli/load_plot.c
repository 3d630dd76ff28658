/* load_plot.c - two panels side by side, drawn from a table of panels and lines.
 *
 *   left    output tokens a second
 *   right   time to first token: median (solid) and p99 (dashed)
 *
 * The loads stand at even distances, in the order they were run, so that 1, 4, 16, 64 read as well
 * as 10, 11, 12. Both scales begin at zero and end at a round number above the greatest value.
 */
#include "cli/load_plot.h"

#include <math.h>

#define WIDTH 960
#define HEIGHT 400
#define PANEL_WIDTH 380
#define PANEL_HEIGHT 280
#define TOP 60
#define TICKS 5

typedef struct line {
    load_figure figure;
    const char *dash; /* of SVG; "none" is a solid line */
} line;

typedef struct panel {
    const char *title;
    int left;
    uint32_t n_lines;
    line lines[2];
} panel;

static const panel panels[] = {
    {"output tokens a second", 70, 1, {{LOAD_FIGURE_OUTPUT_TOK_S, "none"}}},
    {"time to first token, ms: median, p99 dashed",
     550,
     2,
     {{LOAD_FIGURE_TTFT_P50, "none"}, {LOAD_FIGURE_TTFT_P99, "6 4"}}},
};

static const char *const colours[LOAD_TARGETS_MAX] = {"#1f6feb", "#d1583b"};

/* The least of 1, 2, 2.5, 5 times a power of ten that is not below v. */
static double round_up(double v) {
    static const double steps[] = {1, 2, 2.5, 5, 10};
    if (!(v > 0)) {
        return 1;
    }
    const double power = pow(10, floor(log10(v)));
    for (uint32_t i = 0; i < WEFT_LEN(steps); i++) {
        if (v <= steps[i] * power * (1 + 1e-9)) {
            return steps[i] * power;
        }
    }
    return 10 * power;
}

static double highest(const load_report *r, const panel *p) {
    double most = 0;
    for (uint32_t i = 0; i < r->n_points; i++) {
        for (uint32_t side = 0; side < r->n_targets; side++) {
            for (uint32_t l = 0; l < p->n_lines; l++) {
                most = fmax(most, r->points[i].sides[side].figures.of[p->lines[l].figure]);
            }
        }
    }
    return round_up(most);
}

static double x_of(const load_report *r, const panel *p, uint32_t i) {
    return p->left + PANEL_WIDTH * (i + 0.5) / r->n_points;
}

static double y_of(double value, double top_value) {
    return TOP + PANEL_HEIGHT * (1 - value / top_value);
}

static void draw_axes(const load_report *r, const panel *p, double top_value, buf *out) {
    buf_printf(out, "<text x='%d' y='%d' font-weight='bold'>%s</text>\n", p->left, TOP - 18,
               p->title);
    for (int t = 0; t <= TICKS; t++) {
        const double value = top_value * t / TICKS, y = y_of(value, top_value);
        buf_printf(out, "<path d='M%d %.1fh%d' stroke='#ddd'/>\n", p->left, y, PANEL_WIDTH);
        buf_printf(out, "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n", p->left - 6, y + 4,
                   value);
    }
    for (uint32_t i = 0; i < r->n_points; i++) {
        buf_printf(out, "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n", x_of(r, p, i),
                   TOP + PANEL_HEIGHT + 18, r->points[i].load);
    }
    buf_printf(out, "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n",
               p->left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 38,
               r->is_open ? "conversations a second" : "users at once");
}

static void draw_line(const load_report *r, const panel *p, const line *l, uint32_t side,
                      double top_value, buf *out) {
    buf_printf(out,
               "<polyline fill='none' stroke='%s' stroke-width='2' stroke-dasharray='%s' points='",
               colours[side], l->dash);
    for (uint32_t i = 0; i < r->n_points; i++) {
        const double value = r->points[i].sides[side].figures.of[l->figure];
        buf_printf(out, "%.1f,%.1f ", x_of(r, p, i), y_of(value, top_value));
    }
    buf_append_cstr(out, "'/>\n");
    for (uint32_t i = 0; i < r->n_points; i++) {
        const double value = r->points[i].sides[side].figures.of[l->figure];
        buf_printf(
            out, "<circle cx='%.1f' cy='%.1f' r='3.5' fill='%s'><title>%g: %.4g</title></circle>\n",
            x_of(r, p, i), y_of(value, top_value), colours[side], r->points[i].load, value);
    }
}

/* Addresses come from the command line and may hold anything. */
static void append_escaped(buf *out, const char *text) {
    for (; *text != 0; text++) {
        switch (*text) {
        case '<': buf_append_cstr(out, "&lt;"); break;
        case '&': buf_append_cstr(out, "&amp;"); break;
        default: buf_append_char(out, *text); break;
        }
    }
}

void load_plot_write(const load_report *r, buf *out) {
    buf_printf(out,
               "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' "
               "font-family='sans-serif' font-size='12'>\n<rect width='%d' height='%d' "
               "fill='white'/>\n",
               WIDTH, HEIGHT, WIDTH, HEIGHT);
    for (uint32_t side = 0; side < r->n_targets; side++) {
        buf_printf(out, "<text x='%u' y='20' fill='%s'>", 70 + 480 * side, colours[side]);
        append_escaped(out, r->targets[side].url);
        buf_append_cstr(out, "</text>\n");
    }
    for (uint32_t i = 0; i < WEFT_LEN(panels); i++) {
        const panel *p = &panels[i];
        const double top_value = highest(r, p);
        draw_axes(r, p, top_value, out);
        for (uint32_t side = 0; side < r->n_targets; side++) {
            for (uint32_t l = 0; l < p->n_lines; l++) {
                draw_line(r, p, &p->lines[l], side, top_value, out);
            }
        }
    }
    buf_append_cstr(out, "</svg>\n");
}
