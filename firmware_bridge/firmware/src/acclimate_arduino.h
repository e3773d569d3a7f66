/* A device on a board that Arduino knows, behind any serial port of it. Include it in one sketch file:
 *
 *     AcclimateArduino device(Serial, MACHINE, sense, apply);
 *     void setup() { Serial.begin(115200); device.begin(acclimate_boot_id(A5)); }
 *     void loop() { device.poll(); }
 */
#ifndef ACCLIMATE_ARDUINO_H
#define ACCLIMATE_ARDUINO_H

#include <Arduino.h>

#include "acclimate.h"

class AcclimateArduino {
public:
    AcclimateArduino(Stream &port, const acclimate_profile &profile, void (*sense)(void *, int32_t *),
                     void (*apply)(void *, const int32_t *, bool))
        : device(), port_(port), profile_(profile), board_(), queued_(0)
    {
        board_.context = this;
        board_.write = queue;
        board_.sense = sense;
        board_.apply = apply;
    }

    /* Boot. causes: what latches it at once, as a pressed emergency stop. */
    void begin(uint32_t boot_id, uint8_t causes = 0)
    {
        queued_ = 0;
        acclimate_begin(&device, &profile_, &board_, boot_id, causes, micros());
    }

    /* Take what has arrived, do what is due, send what fits. Never waits; call it every millisecond at least. */
    void poll()
    {
        for (int n = port_.available(); n > 0; n--) {
            uint8_t byte = (uint8_t)port_.read();
            acclimate_take(&device, &byte, 1, micros());
        }
        acclimate_advance(&device, micros());
        flush();
    }

    acclimate_device device;

private:
    static bool queue(void *context, const uint8_t *bytes, size_t length)
    {
        AcclimateArduino *self = static_cast<AcclimateArduino *>(context);

        self->flush();
        if (self->queued_ + length > sizeof self->queue_)
            return false;
        memcpy(self->queue_ + self->queued_, bytes, length);
        self->queued_ += length;
        self->flush();
        return true;
    }

    /* A port's own buffer may be smaller than a frame. */
    void flush()
    {
        int room = port_.availableForWrite();
        size_t n = room < 0 ? 0 : (size_t)room;

        n = port_.write(queue_, n < queued_ ? n : queued_);
        queued_ -= n;
        memmove(queue_, queue_ + n, queued_);
    }

    Stream &port_;
    const acclimate_profile &profile_;
    acclimate_board board_;
    size_t queued_;
    uint8_t queue_[2 * ACCLIMATE_MAX_FRAME];
};

/* A number for each boot, from the noise of an analogue pin that nothing is connected to. */
inline uint32_t acclimate_boot_id(uint8_t pin)
{
    uint32_t id = micros();

    for (uint8_t i = 0; i < 64; i++) {
        uint8_t bytes[2] = {(uint8_t)analogRead(pin), (uint8_t)micros()};
        id = acclimate_crc(id, bytes, sizeof bytes);
    }
    return id;
}

#endif
