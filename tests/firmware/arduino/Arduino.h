/* What the sketches use of Arduino, declared only: enough to compile them. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

class Stream {
public:
    virtual int available() = 0;
    virtual int read() = 0;
    virtual int availableForWrite() = 0;
    virtual size_t write(const uint8_t *bytes, size_t length) = 0;
};
class SerialPort : public Stream {
public:
    void begin(unsigned long baud);
    int available() override;
    int read() override;
    int availableForWrite() override;
    size_t write(const uint8_t *bytes, size_t length) override;
};
extern SerialPort Serial;

enum { LOW, HIGH };
enum { INPUT, OUTPUT, INPUT_PULLUP };
enum { CHANGE = 4 };
enum : uint8_t { A0 = 14, A1, A2, A3, A4, A5 };

unsigned long micros();
void pinMode(uint8_t pin, uint8_t mode);
int digitalRead(uint8_t pin);
void digitalWrite(uint8_t pin, uint8_t value);
int analogRead(uint8_t pin);
void analogWrite(uint8_t pin, int value);
int digitalPinToInterrupt(uint8_t pin);
void attachInterrupt(int interrupt, void (*handler)(), int mode);
void interrupts();
void noInterrupts();
