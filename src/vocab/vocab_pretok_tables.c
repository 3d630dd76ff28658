/* vocab_pretok_tables.c - the patterns of the pre-tokenizers and the names that use them.
 *
 * A rule is a fact about the models that were trained with it. Patterns are written as the models'
 * own tokenizer files have them wherever that is known (with (?i:...) for the contractions, which
 * also takes U+017F as an s), with these changes that leave the matches alone:
 *
 *   - `\s+$` is (?<!\s)\s++\z: the same match, found without trying every start in a long run
 *   - digits in threes from the right: see vocab_threes.h
 *   - classes with && (Kimi) are look-aheads
 *
 * NFC marks the names whose models' own tokenizers normalise. Qwen 3.5 is not marked: its published
 * test vectors keep combining marks apart.
 *
 * To support a new name, add a line to vocab_pretok_names, and a rule if the pattern is new.
 */
#include "vocab/vocab_pretok_tables.h"

#include <stddef.h>

#include "vocab/vocab_pretok.h"

/* Pieces that many patterns share. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define SYMBOLS_SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_START "[^\\r\\n\\p{L}\\p{N}]?"
#define GPT4O_WORDS \
    CASED_START UPPER "*" LOWER "+" CONTRACTION "?|" CASED_START UPPER "+" LOWER "*" CONTRACTION "?"
#define NOT_HAN_UPPER "(?:(?!\\p{sc:Han})" UPPER ")"
#define NOT_HAN_LOWER "(?:(?!\\p{sc:Han})" LOWER ")"
#define ASCII_PUNCTUATION "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define CJK_HIRAGANA_KATAKANA "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
#define DEEPSEEK_WORDS                                                         \
    ASCII_PUNCTUATION "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" \
                      " ?[\\p{P}\\p{S}]+"

/* The cased letters of DeepSeek's first tokenizer, block by block. */
#define DEEPSEEK_LETTERS                                                                       \
    "A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293"            \
    "\u0295-\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C"       \
    "\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5"           \
    "\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77"           \
    "\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57"           \
    "\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4"             \
    "\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC"           \
    "\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134" \
    "\u2139\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4"             \
    "\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787"            \
    "\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A"           \
    "\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2"     \
    "\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-\U0001E943"

typedef enum rule_id {
    RULE_DEFAULT,
    RULE_GPT2,
    RULE_DIGITS_GPT2,
    RULE_LLAMA3,
    RULE_JAIS2,
    RULE_QWEN2,
    RULE_QWEN35,
    RULE_DEEPSEEK_LLM,
    RULE_DEEPSEEK_CODER,
    RULE_DEEPSEEK3,
    RULE_SPARK,
    RULE_YOUTU,
    RULE_FALCON,
    RULE_BLOOM,
    RULE_VIKING,
    RULE_TEKKEN,
    RULE_GPT4O,
    RULE_TINY_AYA,
    RULE_CHAMELEON,
    RULE_KIMI_K2,
    RULE_SUPERBPE,
    RULE_BAILING,
    RULE_SEED_CODER,
    RULE_NO_CONTRACTION,
    RULE_AFMOE,
    RULE_LAGUNA,
    RULE_EXAONE_MOE,
    RULE_MINICPM5,
    RULE_PLAIN,
} rule_id;

const vocab_pretok_rule vocab_pretok_rules[] = {
    [RULE_DEFAULT] = {{{"[\\p{P}\\$\\+<=>\\^~\\|]+", AS_ONE},
                       {GPT2, AS_ONE},
                       {"\\p{N}+", AS_ONE},
                       {"[0-9][0-9][0-9]", AS_ONE}}},
    [RULE_GPT2] = {{{GPT2, AS_ONE}}},
    [RULE_DIGITS_GPT2] = {{{"\\p{N}", AS_ONE}, {GPT2, AS_ONE}}},
    [RULE_LLAMA3] = {{{CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" SPACES, AS_ONE}}},
    [RULE_JAIS2] = {{{CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS
                                  "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|"
                                  "\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|"
                                  "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}",
                      AS_ONE}}},
    [RULE_QWEN2] = {{{CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" SPACES, AS_ONE}}},
    [RULE_QWEN35] = {{{CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
                                   " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
                       AS_ONE}}},
    [RULE_DEEPSEEK_LLM] = {{{"[\\r\\n]", AS_ONE},
                            {"\\s?[" DEEPSEEK_LETTERS "]+", AS_ONE},
                            {"\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
                             AS_ONE},
                            {"(?<!\\s)\\s++\\z", AS_ONE},
                            {"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", AS_ONE},
                            {"\\p{N}+", AS_ONE}}},
    [RULE_DEEPSEEK_CODER] = {{{"[\\r\\n]", AS_ONE},
                              {"\\s?\\p{L}+", AS_ONE},
                              {"\\s?\\p{P}+", AS_ONE},
                              {"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", AS_ONE},
                              {"\\p{N}", AS_ONE}}},
    [RULE_DEEPSEEK3] = {{{"\\p{N}{1,3}", AS_ONE},
                         {CJK_HIRAGANA_KATAKANA, AS_ONE},
                         {DEEPSEEK_WORDS "[\\r\\n]*|" SPACES, AS_ONE}}},
    [RULE_SPARK] = {{{"\\p{N}{1,3}", AS_ONE},
                     {CJK_HIRAGANA_KATAKANA, AS_ONE},
                     {DEEPSEEK_WORDS "|[\\r\\n]|\\s+(?!\\S)|\\s+", AS_ONE},
                     {"\\p{N}", AS_ONE}}},
    [RULE_YOUTU] = {{{"[\uAC00-\uD7A3\u3131-\u318E]+|"
                      "[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C\u3001-\u303F"
                      "\uFE30-\uFE4F]+|[\u3105-\u312F]+|" CJK_HIRAGANA_KATAKANA,
                      AS_ONE},
                     {GPT4O_WORDS "|\\p{N}|" SYMBOLS_SLASH "|" SPACES, AS_ONE}}},
    [RULE_FALCON] = {{{"[\\p{P}\\$\\+<=>\\^~\\|`]+", AS_ONE},
                      {GPT2, AS_ONE},
                      {"[0-9][0-9][0-9]", AS_ONE}}},
    [RULE_BLOOM] = {{{" ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+", AS_ONE}}},
    [RULE_VIKING] = {{{" ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+", AS_ONE},
                      {"\\p{N}", AS_ONE}}},
    [RULE_TEKKEN] = {{{CASED_START UPPER "*" LOWER "+|" CASED_START UPPER "+" LOWER
                                         "*|\\p{N}|" SYMBOLS_SLASH "|" SPACES,
                       AS_ONE}}},
    [RULE_GPT4O] = {{{GPT4O_WORDS "|\\p{N}{1,3}|" SYMBOLS_SLASH "|" SPACES, AS_ONE}}},
    [RULE_TINY_AYA] = {{{"(?<!\\d)\\d++(?!\\w)", IN_THREES},
                        {GPT4O_WORDS "|\\p{N}{1,3}|" SYMBOLS_SLASH "|" SPACES, AS_ONE}}},
    [RULE_CHAMELEON] = {{{"<sentinel:[0-9]+>", AS_ONE},
                         {"(?:IMGIMG)(?:(?:A|B|C|D|E|F|G|H|I){1,4})Z", AS_ONE},
                         {"[\\t\\n]|    |  ", AS_ONE},
                         {"\\p{N}", AS_ONE},
                         {"[\\p{P}!-/:-@\\[-`{-~]", AS_ONE},
                         {GPT2, AS_ONE}}},
    [RULE_KIMI_K2] = {{{"\\p{sc:Han}+|" CASED_START NOT_HAN_UPPER "*" NOT_HAN_LOWER "+" CONTRACTION
                        "?|" CASED_START NOT_HAN_UPPER "+" NOT_HAN_LOWER "*" CONTRACTION "?|"
                        "\\p{N}{1,3}|" SYMBOLS "|" SPACES,
                        AS_ONE}}},
    [RULE_SUPERBPE] = {{{"\\p{N}+", AS_ONE}, {"\\d++", BEFORE_THREES}}},
    [RULE_BAILING] = {{{"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}|"
                        " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
                        AS_ONE}}},
    [RULE_SEED_CODER] = {{{CONTRACTION "|" WORD "|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES,
                           AS_ONE}}},
    [RULE_NO_CONTRACTION] = {{{WORD "|\\p{N}|" SYMBOLS "|" SPACES, AS_ONE}}},
    [RULE_AFMOE] = {{{"\\p{N}++", IN_THREES},
                     {"[\u4E00-\u9FFF\u3400-\u4DBF\u8C48-\uFAFF\u3040-\u309F\u30A0-\u30FF"
                      "\uFF65-\uFF9F\u2F00-\u2FDF\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF"
                      "\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF\uAC00-\uD7AF\u1100-\u11FF]+",
                      AS_ONE},
                     {DEEPSEEK_WORDS "[\\r\\n]*|" SPACES, AS_ONE}}},
    [RULE_LAGUNA] = {{{"[^\\n]+|[\\n]+", AS_ONE},
                      {CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" SPACES, AS_ONE}}},
    [RULE_EXAONE_MOE] = {{{CONTRACTION
                           "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|"
                           "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|"
                           "\\s+(?!\\S)|\\s+",
                           AS_ONE}}},
    [RULE_MINICPM5] = {{{"\\p{N}{1,3}", AS_ONE},
                        {CONTRACTION "|" WORD "|\\p{N}+|" SYMBOLS "|" SPACES, AS_ONE}}},
    [RULE_PLAIN] = {{{NULL, AS_ONE}}},
};

#define WHOLE VOCAB_PRETOK_WHOLE_WORDS
#define BOS VOCAB_PRETOK_ADDS_BOS
#define NFC VOCAB_PRETOK_NFC

const vocab_pretok_name vocab_pretok_names[] = {
    {"default", RULE_DEFAULT, 0},
    {"llama3", RULE_LLAMA3, WHOLE | BOS},
    {"llama-v3", RULE_LLAMA3, WHOLE | BOS},
    {"llama-bpe", RULE_LLAMA3, WHOLE | BOS},
    {"falcon3", RULE_LLAMA3, WHOLE | BOS},
    {"falcon-h1", RULE_LLAMA3, WHOLE | BOS},
    {"pixtral", RULE_LLAMA3, WHOLE | BOS},
    {"midm-2.0", RULE_LLAMA3, WHOLE | BOS},
    {"lfm2", RULE_LLAMA3, WHOLE | BOS},
    {"jina-v5-nano", RULE_LLAMA3, WHOLE | BOS},
    {"dbrx", RULE_LLAMA3, 0},
    {"smaug-bpe", RULE_LLAMA3, 0},
    {"chatglm-bpe", RULE_LLAMA3, 0},
    {"glm4", RULE_LLAMA3, WHOLE},
    {"glm5", RULE_LLAMA3, WHOLE},
    {"jais-2", RULE_JAIS2, 0},
    {"minicpm5", RULE_MINICPM5, WHOLE},
    {"gpt-2", RULE_GPT2, 0},
    {"phi-2", RULE_GPT2, 0},
    {"jina-es", RULE_GPT2, 0},
    {"jina-de", RULE_GPT2, 0},
    {"jina-v2-es", RULE_GPT2, 0},
    {"jina-v2-de", RULE_GPT2, 0},
    {"jina-v1-en", RULE_GPT2, 0},
    {"jina-v2-code", RULE_GPT2, 0},
    {"roberta-bpe", RULE_GPT2, 0},
    {"gigachat", RULE_GPT2, 0},
    {"a.x-4.0", RULE_GPT2, 0},
    {"mellum", RULE_GPT2, 0},
    {"modern-bert", RULE_GPT2, 0},
    {"mpt", RULE_GPT2, NFC},
    {"olmo", RULE_GPT2, NFC},
    {"jais", RULE_GPT2, 0},
    {"trillion", RULE_GPT2, 0},
    {"granite-docling", RULE_GPT2, 0},
    {"exaone4", RULE_GPT2, 0},
    {"smollm", RULE_DIGITS_GPT2, 0},
    {"starcoder", RULE_DIGITS_GPT2, 0},
    {"refact", RULE_DIGITS_GPT2, 0},
    {"command-r", RULE_DIGITS_GPT2, NFC},
    {"codeshell", RULE_DIGITS_GPT2, 0},
    {"exaone", RULE_DIGITS_GPT2, 0},
    {"minerva-7b", RULE_DIGITS_GPT2, 0},
    {"mellum2", RULE_DIGITS_GPT2, 0},
    {"qwen2", RULE_QWEN2, NFC},
    {"deepseek-r1-qwen", RULE_QWEN2, 0},
    {"kormo", RULE_QWEN2, 0},
    {"f2llmv2", RULE_QWEN2, 0},
    {"megrez", RULE_QWEN2, 0},
    {"stablelm2", RULE_QWEN2, 0},
    {"hunyuan", RULE_QWEN2, 0},
    {"solar-open", RULE_QWEN2, 0},
    {"grok-2", RULE_QWEN2, 0},
    {"qwen35", RULE_QWEN35, 0},
    {"ufakzeka", RULE_NO_CONTRACTION, 0},
    {"deepseek-llm", RULE_DEEPSEEK_LLM, 0},
    {"deepseek-coder", RULE_DEEPSEEK_CODER, 0},
    {"deepseek-v3", RULE_DEEPSEEK3, 0},
    {"hunyuan-dense", RULE_DEEPSEEK3, 0},
    {"joyai-llm", RULE_DEEPSEEK3, 0},
    {"hy_v4", RULE_DEEPSEEK3, 0},
    {"spark2_5", RULE_SPARK, 0},
    {"youtu", RULE_YOUTU, WHOLE},
    {"falcon", RULE_FALCON, 0},
    {"poro-chat", RULE_BLOOM, 0},
    {"bloom", RULE_BLOOM, 0},
    {"gpt3-finnish", RULE_BLOOM, 0},
    {"viking", RULE_VIKING, 0},
    {"tekken", RULE_TEKKEN, WHOLE | BOS},
    {"chameleon", RULE_CHAMELEON, BOS},
    {"gpt-4o", RULE_GPT4O, 0},
    {"o200k", RULE_GPT4O, 0},
    {"llama4", RULE_GPT4O, 0},
    {"kanana2", RULE_GPT4O, 0},
    {"talkie", RULE_GPT4O, 0},
    {"minimax-m2", RULE_GPT4O, 0},
    {"granite-embed-multi-97m", RULE_GPT4O, WHOLE},
    {"tiny_aya", RULE_TINY_AYA, 0},
    {"cohere2moe", RULE_TINY_AYA, 0},
    {"kimi-k2", RULE_KIMI_K2, 0},
    {"superbpe", RULE_SUPERBPE, 0},
    {"bailingmoe", RULE_BAILING, 0},
    {"bailingmoe2", RULE_BAILING, 0},
    {"llada-moe", RULE_BAILING, 0},
    {"seed-coder", RULE_SEED_CODER, 0},
    {"afmoe", RULE_AFMOE, 0},
    {"laguna", RULE_LAGUNA, 0},
    {"exaone-moe", RULE_EXAONE_MOE, 0},
    {"gemma4", RULE_PLAIN, VOCAB_PRETOK_METASPACE | BOS},
    {"granite-embed-multi-311m", RULE_PLAIN, VOCAB_PRETOK_METASPACE},
    {"sarvam-moe", RULE_PLAIN, VOCAB_PRETOK_METASPACE},
    {"mmbert", RULE_PLAIN, VOCAB_PRETOK_METASPACE | VOCAB_PRETOK_WORDS},
    {"whitespace", RULE_PLAIN, VOCAB_PRETOK_WHITE_SPACE},
    {NULL, 0, 0},
};
