// Prints what every plain dynamics gives, number by number; built for each backend and compared.
#include "cbo_runs.hpp"

#include <cstdio>
#include <cstring>
#include <exception>

namespace {

template <class T> void print(const runs::Run& run, const char* type) {
    const auto r = runs::solve<T>(run);
    std::printf("%s, %s: nit %ld, nfev %ld\n", run.name.c_str(), type, static_cast<long>(r.nit),
                static_cast<long>(r.nfev));
    const char* format = run.exact ? " %a" : (sizeof(T) == 8 ? " %.9e" : " %.2e");
    for (const double x : r.x) std::printf(format, x);
    std::printf(format, r.fun);
    for (const double c : r.consensus) std::printf(format, c);
    for (fastopt::index_t i = 0; i < r.population.size(); ++i)
        std::printf(format, static_cast<double>(r.population[i]));
    for (fastopt::index_t i = 0; i < r.energies.size(); ++i) std::printf(format, r.energies[i]);
    for (fastopt::index_t i = 0; i < r.weights.size(); ++i) std::printf(format, r.weights[i]);
    std::printf("\n");
}

} // namespace

int main() try {
    for (const runs::Run& run : runs::all()) {
        print<double>(run, "double");
        if (run.exact) print<float>(run, "float");
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
