#include "acclimate_frame.h"

#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the wire is little-endian and this code copies as it is: it needs a little-endian machine"
#endif

#define CRC_BYTES 4u
#define OPEN_TYPES                                                                                              \
    (1u << ACCLIMATE_HELLO | 1u << ACCLIMATE_CAPS | 1u << ACCLIMATE_CHANNEL | 1u << ACCLIMATE_ESTOP |           \
     1u << ACCLIMATE_LOG)
#define OPEN_SEED 0x2144DF1Cu /* acclimate_seed(0) */

/* Bytes of payload by type, without the values of CMD and OBS. */
static const uint8_t LENGTHS[ACCLIMATE_TYPES] = {0, 4, 50, 58, 4, 18, 0, 8, 0, 1, 8, 8, 64};

uint32_t acclimate_crc(uint32_t crc, const void *data, size_t length)
{
    /* Half a byte at a time: 64 bytes of table, where a whole byte takes 1024. */
    static const uint32_t TABLE[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *byte = (const uint8_t *)data;

    crc = ~crc;
    for (; length; length--) {
        crc ^= *byte++;
        crc = crc >> 4 ^ TABLE[crc & 15u];
        crc = crc >> 4 ^ TABLE[crc & 15u];
    }
    return ~crc;
}

uint32_t acclimate_seed(uint32_t schema_hash)
{
    return acclimate_crc(0, &schema_hash, sizeof schema_hash);
}

static size_t payload_length(const acclimate_layout *layout, uint8_t type)
{
    size_t values = type == ACCLIMATE_CMD ? layout->actuators : type == ACCLIMATE_OBS ? layout->sensors : 0u;

    return LENGTHS[type] + 4u * values;
}

static uint32_t frame_crc(const acclimate_layout *layout, const uint8_t *raw, size_t length)
{
    uint32_t seed = OPEN_TYPES >> raw[1] & 1u ? OPEN_SEED : layout->seed;

    return acclimate_crc(seed, raw, length);
}

/* Undo COBS in place: what was at `bytes[1]` and behind it is then the content. */
static bool unstuff(uint8_t *bytes, size_t length)
{
    size_t at = 0;

    for (;;) {
        size_t next = at + bytes[at];
        if (at)
            bytes[at] = 0;
        if (next >= length)
            return next == length;
        at = next;
    }
}

static acclimate_verdict judge(uint8_t *bytes, size_t length, const acclimate_layout *layout)
{
    const uint8_t *raw = bytes + 1;
    size_t content = length - 1u - CRC_BYTES; /* meaningless until it is known to be long enough */
    uint32_t crc;

    if (!unstuff(bytes, length) || length < 1u + ACCLIMATE_HEADER + CRC_BYTES)
        return ACCLIMATE_MALFORMED;
    if (raw[0] != ACCLIMATE_VERSION)
        return ACCLIMATE_OTHER_VERSION;
    if (raw[1] == 0 || raw[1] >= ACCLIMATE_TYPES)
        return ACCLIMATE_UNKNOWN;
    if (content != ACCLIMATE_HEADER + payload_length(layout, raw[1]))
        return ACCLIMATE_LENGTH;
    memcpy(&crc, raw + content, sizeof crc);
    return crc == frame_crc(layout, raw, content) ? ACCLIMATE_FRAME : ACCLIMATE_DAMAGED;
}

acclimate_verdict acclimate_decode(acclimate_decoder *decoder, const acclimate_layout *layout, uint8_t byte)
{
    size_t length = decoder->length;

    if (byte == 0) {
        bool whole = length && !decoder->skipping;
        decoder->length = 0;
        decoder->skipping = false;
        return whole ? judge(decoder->bytes, length, layout) : ACCLIMATE_MORE;
    }
    if (decoder->skipping)
        return ACCLIMATE_MORE;
    if (length == sizeof decoder->bytes) {
        decoder->skipping = true;
        return ACCLIMATE_OVERLONG;
    }
    decoder->bytes[length] = byte;
    decoder->length = (uint8_t)(length + 1u);
    return ACCLIMATE_MORE;
}

size_t acclimate_encode(uint8_t *frame, const acclimate_layout *layout)
{
    uint8_t *raw = frame + 1;
    size_t content = ACCLIMATE_HEADER + payload_length(layout, raw[1]), end = 1u + content + CRC_BYTES;
    size_t code = 0; /* where it stands how far it is to the next zero */
    uint32_t crc;

    raw[0] = ACCLIMATE_VERSION;
    crc = frame_crc(layout, raw, content);
    memcpy(raw + content, &crc, sizeof crc);
    frame[end] = 0;
    for (size_t i = 1; i <= end; i++) {
        if (frame[i] == 0) {
            frame[code] = (uint8_t)(i - code);
            code = i;
        }
    }
    return end + 1u;
}
