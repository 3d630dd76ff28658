/* complete.c - the smallest program with libweft: continues a text.
 *
 *   cc complete.c $(pkg-config --cflags --libs weft) -o complete && ./complete model.gguf "Once"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/weft.h>

static weft_error err;

static void must(weft_status status) {
    if (status != WEFT_OK) {
        fprintf(stderr, "complete: %s\n", err.message);
        exit(1);
    }
}

int main(int argc, char **argv) {
    weft_runtime *rt = NULL;
    weft_engine *en = NULL;
    weft_request *rq = NULL;
    weft_tokens prompt = {0};
    weft_request_options o = weft_request_options_default();
    const char *text = argc == 3 ? argv[2] : "Once upon a time";
    must(weft_runtime_create(&rt, NULL, &err));
    must(weft_engine_open(&en, rt, argc > 1 ? argv[1] : "model.gguf", NULL, &err));
    must(weft_tokenize(en, text, strlen(text), WEFT_TOKENIZE_SPECIAL, &prompt, &err));
    o.prompt = prompt.ids;
    o.n_prompt = prompt.count;
    o.max_tokens = 32;
    o.temperature = 0;
    must(weft_request_submit(&rq, en, &o, &err));
    for (weft_event ev = {0}; !ev.is_done && weft_request_wait(rq, &ev, -1) == WEFT_OK;) {
        fwrite(ev.text, 1, ev.text_len, stdout);
    }
    printf("\n");
    weft_request_release(&rq);
    weft_tokens_deinit(&prompt);
    weft_engine_close(&en);
    weft_runtime_destroy(&rt);
    return 0;
}
