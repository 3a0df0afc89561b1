// Native objectives, plain, shifted and rotated: 100 points of 20 coordinates (canyon: of 2).
#include <string_view>
#include <vector>

#include "levels.hpp"

namespace fastopt {
namespace {

constexpr index_t rows = 100, usual_dim = 20;

enum class Form { plain, shifted, rotated };

template <class T>
void evaluate(benchmark::State& state, const CboKernels<T>& table, ObjectiveInfo info, Form form) {
    const index_t d = info.max_dim > 0 ? info.max_dim : usual_dim;
    const bool shifted = form != Form::plain, rotated = form == Form::rotated;
    std::vector<T> x(rows * d), shift(d, T(0.3)), rotation(d * d, T(0));
    std::vector<T> scratch(objective_scratch(d, shifted, rotated));
    std::vector<double> f(rows);
    for (index_t e = 0; e < rows * d; ++e)
        x[e] = static_cast<T>(0.05 + 3.0 * static_cast<double>(e % 97) / 97);
    for (index_t k = 0; k < d; ++k) rotation[k * d + (k + 1) % d] = T(1);
    for (auto _ : state) {
        table.evaluate(info.id, x.data(), rows, d, shifted ? shift.data() : nullptr,
                       rotated ? rotation.data() : nullptr, scratch.data(), f.data());
        benchmark::DoNotOptimize(f.data());
        benchmark::ClobberMemory();
    }
    count_items(state, rows * d);
}

template <class T> void add(const Kernels& kernels, const std::string& level) {
    const CboKernels<T>& table = cbo_table<T>(kernels);
    const auto one = [&](const ObjectiveInfo& info, Form form, const char* suffix) {
        const std::string what = std::string(info.name) + suffix + "_" + type_name<T>();
        benchmark::RegisterBenchmark((what + "/" + level).c_str(), [=](benchmark::State& s) {
            evaluate<T>(s, table, info, form);
        });
    };
    for (const ObjectiveInfo& info : objective_table) {
        one(info, Form::plain, "");
        if (std::string_view(info.name) != "rastrigin") continue;
        one(info, Form::shifted, "_shifted");
        one(info, Form::rotated, "_rotated");
    }
}

const bool registered = [] {
    for_levels([](const Kernels& kernels, const std::string& level) {
        add<double>(kernels, level);
        add<float>(kernels, level);
    });
    return true;
}();

} // namespace
} // namespace fastopt
