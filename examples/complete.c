/* complete.c - the smallest program with libweft: continues a text.
 *
 *   cc complete.c $(pkg-config --cflags --libs weft) -o complete && ./complete model.gguf "Once"
 */
#include <stdio.h>
#include <string.h>

#include <weft/weft.h>

int main(int argc, char **argv) {
    weft_runtime *rt = NULL;
    weft_engine *en = NULL;
    weft_request *rq = NULL;
    weft_tokens prompt = {0};
    weft_error err;
    weft_request_options o = weft_request_options_default();
    if (argc != 3 || weft_runtime_create(&rt, NULL, &err) != WEFT_OK ||
        weft_engine_open(&en, rt, argv[1], NULL, &err) != WEFT_OK ||
        weft_tokenize(en, argv[2], strlen(argv[2]), WEFT_TOKENIZE_SPECIAL, &prompt, &err) !=
            WEFT_OK) {
        fprintf(stderr, "complete: %s\n", argc != 3 ? "usage: complete MODEL TEXT" : err.message);
        return 1;
    }
    o.prompt = prompt.ids;
    o.n_prompt = prompt.count;
    o.max_tokens = 32;
    o.temperature = 0;
    if (weft_request_submit(&rq, en, &o, &err) == WEFT_OK) {
        for (weft_event ev = {0}; !ev.is_done && weft_request_wait(rq, &ev, -1) == WEFT_OK;) {
            fwrite(ev.text, 1, ev.text_len, stdout);
        }
        printf("\n");
    }
    weft_request_release(&rq);
    weft_tokens_deinit(&prompt);
    weft_engine_close(&en);
    weft_runtime_destroy(&rt);
    return 0;
}
