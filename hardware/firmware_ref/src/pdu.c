/* Requests and answers: function codes 1-6, 15, 16, 22, 23. Lengths, quantities and ranges are checked here, in this
 * order; what registers mean is registers.c. */
#include <string.h>

#include "bytes.h"
#include "device.h"

enum {
    READ_WORDS_MAX = 125,
    READ_BITS_MAX = 2000,
    WRITE_WORDS_MAX = 123,
    WRITE_BITS_MAX = 1968,
    READ_WRITE_WORDS_MAX = 121
};

struct request {
    const uint8_t *pdu;
    uint16_t size;
    uint8_t *out;
    uint16_t out_size;
};

static uint8_t check_range(uint16_t address, uint16_t count, uint16_t count_max)
{
    if (count < 1 || count > count_max)
        return ILLEGAL_VALUE;
    return address + count > 0x10000L ? ILLEGAL_ADDRESS : OK;
}

static void echo(struct request *q, uint16_t size)
{
    memcpy(q->out, q->pdu, size);
    q->out_size = size;
}

static uint8_t read_bits(const struct hwo1 *d, struct request *q, enum table table)
{
    uint16_t bits[READ_BITS_MAX];
    uint16_t address = get_word(q->pdu + 1), count = get_word(q->pdu + 3);
    uint8_t refused = q->size != 5 ? ILLEGAL_VALUE : check_range(address, count, READ_BITS_MAX);

    if (refused == OK)
        refused = registers_read(d, table, address, count, bits);
    if (refused != OK)
        return refused;
    q->out[0] = q->pdu[0];
    q->out[1] = (uint8_t)((count + 7) / 8);
    memset(q->out + 2, 0, q->out[1]);
    for (uint16_t i = 0; i < count; i++)
        q->out[2 + i / 8] |= (uint8_t)(bits[i] << i % 8);
    q->out_size = (uint16_t)(2 + q->out[1]);
    return OK;
}

static uint8_t read_words(const struct hwo1 *d, struct request *q, enum table table)
{
    uint16_t words[READ_WORDS_MAX];
    uint16_t address = get_word(q->pdu + 1), count = get_word(q->pdu + 3);
    uint8_t refused = check_range(address, count, READ_WORDS_MAX);

    if (refused == OK)
        refused = registers_read(d, table, address, count, words);
    if (refused != OK)
        return refused;
    q->out[0] = q->pdu[0];
    q->out[1] = (uint8_t)(count * 2);
    for (uint16_t i = 0; i < count; i++)
        put_number(q->out + 2 + 2 * i, words[i], 2);
    q->out_size = (uint16_t)(2 + count * 2);
    return OK;
}

static uint8_t write_one(struct hwo1 *d, struct request *q)
{
    uint16_t address = get_word(q->pdu + 1), value = get_word(q->pdu + 3);
    uint8_t refused;

    if (q->size != 5 || (q->pdu[0] == 5 && value != 0 && value != 0xFF00))
        return ILLEGAL_VALUE;
    if (q->pdu[0] == 5)
        value = value == 0xFF00;
    refused = registers_write(d, q->pdu[0] == 5 ? COIL : HOLDING, address, &value, 1, true);
    echo(q, 5);
    return refused;
}

static uint8_t write_bits(struct hwo1 *d, struct request *q)
{
    uint16_t bits[WRITE_BITS_MAX];
    uint16_t address, count;
    uint8_t refused;

    if (q->size < 6)
        return ILLEGAL_VALUE;
    address = get_word(q->pdu + 1);
    count = get_word(q->pdu + 3);
    if (count > WRITE_BITS_MAX || q->pdu[5] != (count + 7) / 8 || q->size != 6 + q->pdu[5])
        return ILLEGAL_VALUE;
    refused = check_range(address, count, WRITE_BITS_MAX);
    if (refused != OK)
        return refused;
    for (uint16_t i = 0; i < count; i++)
        bits[i] = q->pdu[6 + i / 8] >> i % 8 & 1;
    echo(q, 5);
    return registers_write(d, COIL, address, bits, count, false);
}

/* Take address, count and words of a write that starts at `at`. */
static uint8_t words_to_write(const uint8_t *pdu, uint16_t size, uint16_t at, uint16_t count_max, uint16_t *address,
                              uint16_t *count, uint16_t *words)
{
    if (size < at + 5)
        return ILLEGAL_VALUE;
    *address = get_word(pdu + at);
    *count = get_word(pdu + at + 2);
    if (*count > count_max || pdu[at + 4] != *count * 2 || size != at + 5 + pdu[at + 4])
        return ILLEGAL_VALUE;
    for (uint16_t i = 0; i < *count; i++)
        words[i] = get_word(pdu + at + 5 + 2 * i);
    return check_range(*address, *count, count_max);
}

static uint8_t write_words(struct hwo1 *d, struct request *q)
{
    uint16_t words[WRITE_WORDS_MAX], address, count;
    uint8_t refused = words_to_write(q->pdu, q->size, 1, WRITE_WORDS_MAX, &address, &count, words);

    if (refused != OK)
        return refused;
    echo(q, 5);
    return registers_write(d, HOLDING, address, words, count, false);
}

static uint8_t mask_write(struct hwo1 *d, struct request *q)
{
    uint16_t address = get_word(q->pdu + 1), and_mask = get_word(q->pdu + 3), or_mask = get_word(q->pdu + 5);
    uint16_t value;
    uint8_t refused = q->size != 7 ? ILLEGAL_VALUE : registers_read(d, HOLDING, address, 1, &value);

    if (refused != OK)
        return refused;
    value = (uint16_t)((value & and_mask) | (or_mask & ~and_mask));
    echo(q, 7);
    return registers_write(d, HOLDING, address, &value, 1, true);
}

static uint8_t read_write(struct hwo1 *d, struct request *q)
{
    uint16_t words[READ_WRITE_WORDS_MAX], address, count;
    uint8_t refused;

    if (q->size < 10)
        return ILLEGAL_VALUE;
    refused = check_range(get_word(q->pdu + 1), get_word(q->pdu + 3), READ_WORDS_MAX);
    if (refused == OK)
        refused = words_to_write(q->pdu, q->size, 5, READ_WRITE_WORDS_MAX, &address, &count, words);
    if (refused == OK)
        refused = registers_exist(HOLDING, get_word(q->pdu + 1), get_word(q->pdu + 3));
    if (refused == OK)
        refused = registers_write(d, HOLDING, address, words, count, false);
    return refused == OK ? read_words(d, q, HOLDING) : refused;
}

static uint8_t dispatch(struct hwo1 *d, struct request *q)
{
    switch (q->pdu[0]) {
    case 1:
        return read_bits(d, q, COIL);
    case 2:
        return read_bits(d, q, DISCRETE);
    case 3:
        return q->size != 5 ? ILLEGAL_VALUE : read_words(d, q, HOLDING);
    case 4:
        return q->size != 5 ? ILLEGAL_VALUE : read_words(d, q, INPUT);
    case 5:
    case 6:
        return write_one(d, q);
    case 15:
        return write_bits(d, q);
    case 16:
        return write_words(d, q);
    case 22:
        return mask_write(d, q);
    case 23:
        return read_write(d, q);
    default:
        return ILLEGAL_FUNCTION;
    }
}

/* The frame buffer is longer than any request's head, so that reading a head before its length is known is harmless. */
uint16_t pdu_answer(struct hwo1 *d, const uint8_t *pdu, uint16_t size, uint8_t *out)
{
    struct request q = {pdu, size, out, 0};
    uint8_t refused = dispatch(d, &q);

    if (refused == OK)
        return q.out_size;
    out[0] = pdu[0] | 0x80;
    out[1] = refused;
    return 2;
}

void pdu_broadcast(struct hwo1 *d, const uint8_t *pdu, uint16_t size)
{
    uint16_t words[WRITE_WORDS_MAX], address, count;

    if (pdu[0] == 16 && words_to_write(pdu, size, 1, WRITE_WORDS_MAX, &address, &count, words) == OK)
        registers_broadcast(d, address, words, count);
}
