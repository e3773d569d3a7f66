/* Frames on the wire: COBS, header, CRC. docs/protocol.md is the specification.
 *
 *     COBS( version u8 | type u8 | seq u16 | t_us u32 | session u16 | payload | CRC32 ) 0x00     little-endian
 */
#ifndef ACCLIMATE_FRAME_H
#define ACCLIMATE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ACCLIMATE_VERSION
#define ACCLIMATE_VERSION 2
#endif

#define ACCLIMATE_MAX_FRAME 128 /* bytes on the wire, COBS overhead and delimiter included */
#define ACCLIMATE_HEADER 10
#define ACCLIMATE_MAX_SENSORS 23
#define ACCLIMATE_MAX_ACTUATORS 27

enum {
    ACCLIMATE_HELLO = 1,
    ACCLIMATE_CAPS,
    ACCLIMATE_CHANNEL,
    ACCLIMATE_CMD,
    ACCLIMATE_OBS,
    ACCLIMATE_PING,
    ACCLIMATE_PONG,
    ACCLIMATE_ESTOP,
    ACCLIMATE_CLEAR,
    ACCLIMATE_CFG,
    ACCLIMATE_ACK,
    ACCLIMATE_LOG,
    ACCLIMATE_TYPES
};

/* What became of a byte. Everything after ACCLIMATE_FRAME was dropped, and is to be counted. */
typedef enum {
    ACCLIMATE_MORE,      /* the frame is not complete yet */
    ACCLIMATE_FRAME,     /* a frame is: its header begins at `bytes[1]` of the decoder */
    ACCLIMATE_OVERLONG,  /* no delimiter within ACCLIMATE_MAX_FRAME bytes */
    ACCLIMATE_MALFORMED, /* not COBS, or too short for a frame */
    ACCLIMATE_OTHER_VERSION,
    ACCLIMATE_UNKNOWN, /* a type that there is not */
    ACCLIMATE_LENGTH,  /* not the length that its type has */
    ACCLIMATE_DAMAGED  /* CRC wrong: damaged, or sealed with another schema */
} acclimate_verdict;

/* What both ends agree on: how long frames are, and what their CRC begins with. */
typedef struct {
    uint32_t seed; /* the CRC after the schema hash */
    uint8_t sensors, actuators;
} acclimate_layout;

/* Collects the bytes of one frame. All zeros to begin with. */
typedef struct {
    uint8_t length;
    bool skipping; /* inside an overlong run, until the next delimiter */
    uint8_t bytes[ACCLIMATE_MAX_FRAME - 1];
} acclimate_decoder;

/* CRC-32 of IEEE 802.3 over `length` more bytes; `crc` is that of those before them, 0 for none. */
uint32_t acclimate_crc(uint32_t crc, const void *data, size_t length);

/* The CRC after the schema hash, from which the CRC of a frame goes on. */
uint32_t acclimate_seed(uint32_t schema_hash);

/* Take one byte from the wire. */
acclimate_verdict acclimate_decode(acclimate_decoder *decoder, const acclimate_layout *layout, uint8_t byte);

/* Finish a frame in place. Its header begins at `frame[1]`, without the version, and its payload of the length that
 * its type has behind that. Returns how many bytes from `frame[0]` on go on the wire, at most ACCLIMATE_MAX_FRAME. */
size_t acclimate_encode(uint8_t *frame, const acclimate_layout *layout);

#ifdef __cplusplus
}
#endif

#endif
