// A planted heap overflow: AddressSanitizer must stop this program.
#include <vector>

int main(int argc, char**) {
    std::vector<double> x(8, 1.0);
    const double* p = x.data();
    return p[8 + argc - 1] > 0 ? 0 : 1; // one past the end
}
