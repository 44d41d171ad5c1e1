/* Numbers to and from big-endian bytes. */
#ifndef HWO1_BYTES_H
#define HWO1_BYTES_H

#include <stdint.h>

static inline uint8_t *put_number(uint8_t *to, uint64_t value, uint8_t size)
{
    for (uint8_t i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> 8 * (size - 1 - i));
    return to + size;
}

static inline uint64_t get_number(const uint8_t *from, uint8_t size)
{
    uint64_t value = 0;

    for (uint8_t i = 0; i < size; i++)
        value = value << 8 | from[i];
    return value;
}

static inline uint16_t get_word(const uint8_t *from)
{
    return (uint16_t)get_number(from, 2);
}

#endif
