#ifndef HWO1_CMAC_H
#define HWO1_CMAC_H

#include <stdint.h>

enum { CMAC_KEY_BYTES = 16, CMAC_BLOCK_BYTES = 16 };

/* AES-128 CMAC (NIST SP 800-38B) of a message that is not empty. */
void cmac(const uint8_t key[CMAC_KEY_BYTES], const uint8_t *message, uint16_t size, uint8_t mac[CMAC_BLOCK_BYTES]);

#endif
