/* Promises of text/nfc.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "text/nfc.h"
#include "text/utf8.h"

static void check(const char *text, const char *want) {
    buf out;
    buf_init(&out, MEM_TEST, 1000);
    assert_true(nfc_append(&out, str_from_cstr(text)));
    assert_string_equal(buf_cstr(&out), want);
    buf_deinit(&out);
    if (strcmp(text, want) != 0) {
        assert_true(nfc_may_change(str_from_cstr(text)));
    }
}

static void text_is_composed(void **state) {
    check("", "");
    check("plain", "plain");
    check("e\u0301", "\u00E9");
    check("a\u0323\u0302", "\u1EAD");
    check("\u1112\u1161\u11AB", "\uD55C");
    check("\uF900", "\u8C48");
    check("\u212B", "\u00C5");
    check("q\u0307\u0323", "q\u0323\u0307");
    check("\uFB01", "\uFB01"); /* compatibility forms stay */
}

static void common_text_needs_no_normalising(void **state) {
    assert_false(nfc_may_change(STR_LIT("na\u00EFve caf\u00E9, 100 %")));
    assert_false(nfc_may_change(STR_LIT("\u4E16\u754C\uFF0C\u30AB\u30BF")));
    assert_false(nfc_may_change(STR_LIT("\u041F\u0440\u043E\u0441\u0442\u043E")));
}

static void characters_said_to_be_stable_are(void **state) {
    buf out;
    buf_init(&out, MEM_TEST, 1000);
    for (uint32_t cp = 1; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp < 0xE000) {
            continue;
        }
        char bytes[8];
        size_t len = utf8_encode(bytes, 'e');
        len += utf8_encode(bytes + len, cp);
        const str s = str_from(bytes, len);
        if (!nfc_may_change(s)) {
            buf_clear(&out);
            assert_true(nfc_append(&out, s));
            assert_true(str_eq(buf_view(&out), s));
        }
    }
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_composed),
        cmocka_unit_test(common_text_needs_no_normalising),
        cmocka_unit_test(characters_said_to_be_stable_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
