/* Numbers by their exact worth. A canonical number is any that the grammar allows; nothing is rounded. */
#include "parse.h"

/* +-D.DDD * 10^exponent, the first digit not 0; zero has no digits. */
struct number {
    const uint8_t *digits, *end; /* with a point among them, perhaps */
    int64_t exponent;            /* beyond +-10^17 it stays there */
    bool negative;
};

static int64_t read_exponent(const uint8_t *p, const uint8_t *end) {
    const int64_t most = INT64_C(100000000000000000);
    bool negative = p < end && *p == '-';
    int64_t exponent = 0;
    if (p < end && (*p == '-' || *p == '+')) p++;
    for (; p < end && exponent < most; p++) exponent = exponent * 10 + (*p - '0');
    if (exponent > most) exponent = most;
    return negative ? -exponent : exponent;
}

static struct number read_number(const uint8_t *text, size_t size) {
    const uint8_t *end = text + size, *p = text + (*text == '-'), *point = NULL, *first = NULL, *last = NULL;
    struct number number = {.negative = *text == '-'};
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = p;
        } else if (*p != '0') {
            if (!first) first = p;
            last = p + 1;
        }
    }
    if (!first) return (struct number){0};
    const uint8_t *ones = point ? point : p;
    int64_t exponent = p < end ? read_exponent(p + 1, end) : 0;
    number.exponent = exponent + (first < ones ? ones - first - 1 : ones - first);
    number.digits = first;
    number.end = last;
    return number;
}

/* Half a step beyond the largest double: from there on it is rounded to infinity. */
static const char BEYOND[] =
    "17976931348623158079372897140530341507993413271003782693617377898044496829276475094664901797758720709633028641669288"
    "79109465555478519404026306574886715058206819089020007083836762738548458177115317644757302700698555713669596228429148"
    "19860834936475292719074168444365510704342711559699508093042880";

bool clo_json_is_finite(const uint8_t *text, size_t size) {
    struct number number = read_number(text, size);
    if (number.exponent != 308) return number.exponent < 308;
    const char *beyond = BEYOND;
    for (const uint8_t *p = number.digits; p < number.end; p++) {
        if (*p == '.') continue;
        char digit = *beyond ? *beyond++ : '0';
        if (*p != (uint8_t)digit) return *p < (uint8_t)digit;
    }
    while (*beyond == '0') beyond++;
    return *beyond;
}

bool clo_json_equal_numbers(const uint8_t *one, size_t size, const uint8_t *other, size_t other_size) {
    if (size == other_size && !memcmp(one, other, size)) return true;
    struct number a = read_number(one, size), b = read_number(other, other_size);
    if (a.negative != b.negative || a.exponent != b.exponent) return false;
    for (;; a.digits++, b.digits++) {
        if (a.digits < a.end && *a.digits == '.') a.digits++;
        if (b.digits < b.end && *b.digits == '.') b.digits++;
        if (a.digits == a.end || b.digits == b.end) return a.digits == a.end && b.digits == b.end;
        if (*a.digits != *b.digits) return false;
    }
}

uint64_t clo_json_hash_number(const uint8_t *text, size_t size) {
    struct number number = read_number(text, size);
    uint64_t hash = (uint64_t)number.exponent * 2 + number.negative;
    for (const uint8_t *p = number.digits; p < number.end; p++)
        if (*p != '.') hash = (hash ^ *p) * UINT64_C(0x100000001b3);
    return clo_json_mix(hash ^ UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xe7037ed1a0b428db));
}
