// A planted signed overflow: UndefinedBehaviorSanitizer must stop this program.
#include <limits>

int main(int argc, char**) {
    volatile int largest = std::numeric_limits<int>::max();
    const int sum = largest + argc; // argc >= 1
    return sum == 0 ? 1 : 0;
}
