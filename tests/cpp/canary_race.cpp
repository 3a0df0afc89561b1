// A planted data race: ThreadSanitizer must report it and make the exit status non-zero.
#include <thread>

int shared = 0;

int main() {
    std::thread other([] {
        for (int i = 0; i < 1000; ++i) ++shared;
    });
    for (int i = 0; i < 1000; ++i) ++shared;
    other.join();
    return shared > 0 ? 0 : 1;
}
