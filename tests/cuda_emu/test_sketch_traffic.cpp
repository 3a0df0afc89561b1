// The bytes that the kernels of the sketches read and write, counted, are those that the comment
// above each states, and their sums those in docs/cuda.md.
#include <doctest/doctest.h>

#include <vector>

#include "sketch_newton/sketch_steps.hpp"
#include "sketch_traffic.hpp"

using namespace sketch_traffic;
using bytes::Count;

namespace {

using Numbers = std::vector<double>;

bytes::KernelTraffic& traffic() {
    static bytes::KernelTraffic t({"sketch_newton/sketch_cuda.cuh"});
    return t;
}

// ---- sketches ----------------------------------------------------------------------------------

struct Sketch {
    SketchKind kind;
    const char* row; // of the table
    long waits;
};
const Sketch sketches[] = {
    {SketchKind::sjlt, "'sjlt'", 0},       {SketchKind::countsketch, "'sjlt'", 0},
    {SketchKind::srht, "'srht'", 1},       {SketchKind::gaussian, "'gaussian'", 0},
    {SketchKind::uniform, "'uniform'", 2}, {SketchKind::leverage, "'uniform'", 2},
    {SketchKind::less, "'uniform'", 2},
};

struct Sizes {
    index_t n, d, m; // m: of the sketch
};

template <class T> void check_sketch_bytes(const Sketch& which, const Sizes& sizes, bool scaled) {
    const auto queue = make_queue();
    const std::vector<T> values = numbers<T>(sizes.n * sizes.d, 1), scale = numbers<T>(sizes.n, 2);
    const Numbers probabilities(static_cast<std::size_t>(sizes.n), 1.0);
    DataMatrix<T> a;
    a.rows = sizes.n, a.cols = sizes.d, a.values = values.data(), a.place(queue);
    SketchOptions o;
    o.kind = which.kind, o.size = sizes.m, o.key = {17, 0xf0000023u}, o.threads = 1;
    o.probabilities = which.kind == SketchKind::uniform ? nullptr : probabilities.data();
    const Input<T> factors(queue, scale.data(), sizes.n);
    const Array<T> out(queue, sizes.m * sizes.d);
    Names names{{"T", static_cast<index_t>(sizeof(T))}, {"n", sizes.n}, {"d", sizes.d}};
    names["m"] = sizes.m, names["scaled"] = scaled;
    const Kernels kernels = sketch_kernels(o, names);
    const Count count(queue);
    sketch(queue, a, scaled ? factors.data() : nullptr, o, out.data());
    CHECK(count.finish() == which.waits);
    INFO("kind ", static_cast<int>(which.kind), ", n ", sizes.n, ", scaled ", scaled);
    check_total(traffic().expect(kernels), bytes::total(of_sketches(), names, which.row));
}

} // namespace

TEST_CASE_TEMPLATE("bytes of the sketches", T, double, float) {
    for (const Sketch& which : sketches)
        for (const Sizes& sizes :
             {Sizes{1, 1, 3}, Sizes{31, 3, 9}, Sizes{600, 2, 13}, Sizes{40, 5, 300}})
            for (const bool scaled : {false, true}) check_sketch_bytes<T>(which, sizes, scaled);
}

TEST_CASE("every kernel was counted") { traffic().every_kernel_was_counted(); }
