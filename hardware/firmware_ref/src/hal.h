/* What the firmware needs of a board. A port fills in one `struct hal`; nothing else is platform-specific. */
#ifndef HWO1_HAL_H
#define HWO1_HAL_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes of ferroelectric memory; the layout is in store.c. */
#define HAL_FRAM_BYTES 8192u

/* What one tick measured. Temperatures are tenths of a degree; HAL_NO_TEMP is a sensor that is open, shorted or absent. */
#define HAL_NO_TEMP INT16_MIN
struct hal_sample {
    uint32_t pulses;
    uint32_t reverse_pulses;
    int16_t temp;
    int16_t temp_in;
    int16_t temp_mcu;
    uint16_t supply_mv;
    uint16_t backup_mv;
    bool flow_unplugged;
    bool lid_open;
    bool reader_silent;
    bool service_key;
    bool coil_open;
};

struct hal {
    void *context;
    /* Non-volatile memory: a write is in memory when it returns. A power cut may leave any front part of it. */
    void (*fram_read)(void *context, uint16_t at, uint8_t *to, uint16_t size);
    void (*fram_write)(void *context, uint16_t at, const uint8_t *from, uint16_t size);
    /* Drive the valve coil. Its gate is pulled down, so that a processor in reset drives nothing. */
    void (*valve)(void *context, bool open);
    /* Send one frame; the port turns the line's direction around. */
    void (*uart_send)(void *context, const uint8_t *bytes, uint16_t size);
};

#endif
