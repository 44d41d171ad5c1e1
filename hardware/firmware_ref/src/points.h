/* The points of the map by number, and what each of them reads. */
#ifndef HWO1_POINTS_H
#define HWO1_POINTS_H

#include "device.h"

enum type { BIT, U16, I16, U32, U64, STR, RAW };
enum access { R, RW };

struct point {
    uint16_t address, words;
    uint8_t table, type, access;
    int64_t low, high;
};

#define ID_OF(name, table, address, words, type, access, low, high, fallback, persist) POINT_##name,
enum point_id { HWO1_POINTS(ID_OF) POINT_COUNT };

extern const struct point POINTS[POINT_COUNT];

#define POINT_BYTES_MAX (2 * HWO1_LOG_RECORDS_MAX * HWO1_EVENT_WORDS)

/* values.c: a point's number, its flag, or its text or raw bytes padded with NUL to the length of the point. */
uint64_t point_number(const struct hwo1 *d, int id);
bool point_flag(const struct hwo1 *d, int id);
void point_bytes(const struct hwo1 *d, int id, uint8_t *to);

#endif
