/* For where there is no libFuzzer: what was kept, each as it is and changed in RUNS seeded ways.
 *
 *     driver SEED RUNS FILE... */
#include <string.h>

#include "fuzz.h"

enum { MOST = 4096 };

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static size_t read_file(const char *name, uint8_t *data)
{
    FILE *file = fopen(name, "rb");
    size_t size;

    if (!file) {
        perror(name);
        exit(2);
    }
    size = fread(data, 1, MOST, file);
    fclose(file);
    return size;
}

static size_t changed(uint8_t *data, size_t size)
{
    for (uint32_t n = 1 + draw(8); n; n--) {
        size_t at = draw((uint32_t)size + 1), run = 1 + draw(16);
        uint32_t how = draw(4);
        if (how == 0 && at < size) {
            data[at] ^= (uint8_t)(1u << draw(8));
        } else if (how == 1 && at < size) {
            data[at] = (uint8_t)draw(256);
        } else if (how == 2 && at + run < size) {
            memmove(data + at, data + at + run, size - at - run);
            size -= run;
        } else if (size + run <= MOST) {
            memmove(data + at + run, data + at, size - at);
            for (size_t i = 0; i < run; i++)
                data[at + i] = (uint8_t)draw(256);
            size += run;
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    static uint8_t kept[MOST], data[MOST];
    long runs;

    if (argc < 4) {
        fprintf(stderr, "driver SEED RUNS FILE...\n");
        return 2;
    }
    state = strtoul(argv[1], NULL, 10);
    runs = strtol(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        size_t size = read_file(argv[i], kept);
        LLVMFuzzerTestOneInput(kept, size);
        for (long run = 0; run < runs; run++) {
            memcpy(data, kept, size);
            LLVMFuzzerTestOneInput(data, changed(data, size));
        }
    }
    printf("%d files, %ld runs of each\n", argc - 3, runs + 1);
    return 0;
}
