/* AES-128 (FIPS 197) in the encrypting direction, and CMAC on it (NIST SP 800-38B). The S-box is computed once per call:
 * a command a second needs no table in flash, and there is nothing to mistype. */
#include <string.h>

#include "cmac.h"

enum { ROUNDS = 10, WORDS = 4 * (ROUNDS + 1) };

struct aes {
    uint8_t sbox[256];
    uint8_t round_keys[WORDS][4];
};

/* Multiply by x in GF(2^8). */
static uint8_t doubled(uint8_t value)
{
    return (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1B : 0));
}

static uint8_t rotated(uint8_t value, int by)
{
    return (uint8_t)(value << by | value >> (8 - by));
}

/* Walk p through the powers of 3 and q through those of its inverse: q is always 1/p. */
static void make_sbox(uint8_t sbox[256])
{
    uint8_t p = 1, q = 1;

    do {
        p = (uint8_t)(p ^ doubled(p));
        q = (uint8_t)(q ^ q << 1);
        q = (uint8_t)(q ^ q << 2);
        q = (uint8_t)(q ^ q << 4);
        if (q & 0x80)
            q ^= 0x09;
        sbox[p] = (uint8_t)(q ^ rotated(q, 1) ^ rotated(q, 2) ^ rotated(q, 3) ^ rotated(q, 4) ^ 0x63);
    } while (p != 1);
    sbox[0] = 0x63;
}

static void expand_key(struct aes *aes, const uint8_t *key)
{
    uint8_t constant = 1;

    memcpy(aes->round_keys, key, CMAC_KEY_BYTES);
    for (int i = 4; i < WORDS; i++) {
        uint8_t word[4];

        memcpy(word, aes->round_keys[i - 1], sizeof word);
        if (i % 4 == 0) {
            uint8_t first = word[0];

            word[0] = aes->sbox[word[1]] ^ constant;
            word[1] = aes->sbox[word[2]];
            word[2] = aes->sbox[word[3]];
            word[3] = aes->sbox[first];
            constant = doubled(constant);
        }
        for (int j = 0; j < 4; j++)
            aes->round_keys[i][j] = aes->round_keys[i - 4][j] ^ word[j];
    }
}

static void add_round_key(const struct aes *aes, int round, uint8_t *state)
{
    for (int i = 0; i < CMAC_BLOCK_BYTES; i++)
        state[i] ^= aes->round_keys[4 * round + i / 4][i % 4];
}

/* SubBytes and ShiftRows: row r of the state, bytes r, r + 4, …, moves r columns to the left. */
static void substitute_and_shift(const struct aes *aes, uint8_t *state)
{
    uint8_t old[CMAC_BLOCK_BYTES];

    memcpy(old, state, sizeof old);
    for (int i = 0; i < CMAC_BLOCK_BYTES; i++)
        state[i] = aes->sbox[old[(i + 4 * (i % 4)) % CMAC_BLOCK_BYTES]];
}

static void mix_columns(uint8_t *state)
{
    for (int column = 0; column < CMAC_BLOCK_BYTES; column += 4) {
        uint8_t *s = state + column;
        uint8_t first = s[0], all = s[0] ^ s[1] ^ s[2] ^ s[3];

        for (int i = 0; i < 4; i++)
            s[i] ^= (uint8_t)(all ^ doubled(s[i] ^ (i < 3 ? s[i + 1] : first)));
    }
}

static void encrypt(const struct aes *aes, uint8_t *state)
{
    add_round_key(aes, 0, state);
    for (int round = 1; round <= ROUNDS; round++) {
        substitute_and_shift(aes, state);
        if (round < ROUNDS)
            mix_columns(state);
        add_round_key(aes, round, state);
    }
}

/* Shift a subkey left by one bit; what falls out comes back as 0x87. */
static void shift_subkey(uint8_t *subkey)
{
    uint8_t out = subkey[0] >> 7;

    for (int i = 0; i < CMAC_BLOCK_BYTES - 1; i++)
        subkey[i] = (uint8_t)(subkey[i] << 1 | subkey[i + 1] >> 7);
    subkey[CMAC_BLOCK_BYTES - 1] = (uint8_t)(subkey[CMAC_BLOCK_BYTES - 1] << 1 ^ (out ? 0x87 : 0));
}

void cmac(const uint8_t key[CMAC_KEY_BYTES], const uint8_t *message, uint16_t size, uint8_t mac[CMAC_BLOCK_BYTES])
{
    struct aes aes;
    uint8_t subkey[CMAC_BLOCK_BYTES] = {0};
    uint16_t at = 0, rest;

    make_sbox(aes.sbox);
    expand_key(&aes, key);
    encrypt(&aes, subkey);
    shift_subkey(subkey);
    memset(mac, 0, CMAC_BLOCK_BYTES);
    for (; size - at > CMAC_BLOCK_BYTES; at = (uint16_t)(at + CMAC_BLOCK_BYTES)) {
        for (int i = 0; i < CMAC_BLOCK_BYTES; i++)
            mac[i] ^= message[at + i];
        encrypt(&aes, mac);
    }
    rest = (uint16_t)(size - at);
    for (uint16_t i = 0; i < rest; i++)
        mac[i] ^= message[at + i];
    if (rest < CMAC_BLOCK_BYTES) {
        mac[rest] ^= 0x80;
        shift_subkey(subkey);
    }
    for (int i = 0; i < CMAC_BLOCK_BYTES; i++)
        mac[i] ^= subkey[i];
    encrypt(&aes, mac);
}
