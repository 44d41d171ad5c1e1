#ifndef HWO1_CRC_H
#define HWO1_CRC_H

#include <stdint.h>

/* CRC-16/MODBUS: reflected polynomial 0xA001, start 0xFFFF. */
uint16_t crc16(const uint8_t *bytes, uint16_t size);

/* CRC-32 as in Ethernet: reflected polynomial 0xEDB88320, start and end inverted. */
uint32_t crc32(const uint8_t *bytes, uint16_t size);

#endif
