// The device kernels of the sketches against the CPU's, on the emulated device, for ten orders of
// the threads.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "sketch_newton/sketch_steps.hpp"

#include "cuda_emu.hpp"

using namespace fastopt;

namespace {

template <class T> std::vector<T> numbers(index_t n, unsigned seed) {
    std::mt19937_64 engine(seed);
    std::normal_distribution<double> normal;
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) x = static_cast<T>(normal(engine));
    return v;
}

struct Case {
    SketchKind kind;
    index_t rows, cols, size, nonzeros = 0;
    bool scaled = true;
};

// S diag(scale) A of both backends.
template <class T> void agree(const Case& c) {
    CAPTURE(static_cast<int>(c.kind));
    CAPTURE(c.rows);
    CAPTURE(c.cols);
    CAPTURE(c.size);
    CAPTURE(c.nonzeros);
    const std::vector<T> values = numbers<T>(c.rows * c.cols, 1), scale = numbers<T>(c.rows, 2);
    DataMatrix<T> a;
    a.rows = c.rows, a.cols = c.cols, a.values = values.data();
    SketchOptions o;
    o.kind = c.kind, o.size = c.size, o.nonzeros = c.nonzeros;
    o.key = {17, 0xf0000023u}, o.iteration = 5, o.threads = 1;
    std::vector<double> probabilities(static_cast<std::size_t>(c.rows));
    for (index_t i = 0; i < c.rows; ++i) probabilities[i] = static_cast<double>(i % 7 + 1);
    if (c.kind == SketchKind::leverage || c.kind == SketchKind::less)
        o.probabilities = probabilities.data();
    std::vector<T> expected(static_cast<std::size_t>(c.size * c.cols));
    sketch(a, c.scaled ? scale.data() : nullptr, o, expected.data());

    const auto queue = make_queue();
    a.place(queue);
    const Input<T> factors(queue, scale.data(), c.scaled ? c.rows : 0);
    const Array<T> out(queue, c.size * c.cols);
    sketch(queue, a, c.scaled ? factors.data() : nullptr, o, out.data());
    const T* got = out.fetch();
    double scale_of_all = 0;
    for (const T x : expected) scale_of_all = std::max(scale_of_all, std::fabs(double(x)));
    const double allowed = sizeof(T) == 8 ? 1e-13 : 1e-5; // of a product by cuBLAS
    index_t wrong = 0;
    for (index_t i = 0; i < out.size(); ++i)
        wrong += c.kind == SketchKind::gaussian
                     ? !(std::fabs(double(got[i]) - double(expected[i])) <= allowed * scale_of_all)
                     : !(got[i] == expected[i]);
    CHECK(wrong == 0);
}

template <class T> void agree_on_small_inputs() {
    for (const index_t rows : {1, 31, 65, 600})
        for (const index_t cols : {1, 5, 33}) {
            agree<T>({SketchKind::sjlt, rows, cols, 13});
            agree<T>({SketchKind::countsketch, rows, cols, 7, 0, false});
            agree<T>({SketchKind::srht, rows, cols, 9});
            agree<T>({SketchKind::uniform, rows, cols, 11, 0, false});
            agree<T>({SketchKind::leverage, rows, cols, 11});
            agree<T>({SketchKind::less, rows, cols, 6, 3});
        }
    for (const index_t rows : {1, 33, 100}) agree<T>({SketchKind::gaussian, rows, 5, 13});
    agree<T>({SketchKind::sjlt, 300, 3, 1});     // one row
    agree<T>({SketchKind::sjlt, 40, 3, 300, 6}); // longer than the data, and than a block
    agree<T>({SketchKind::sjlt, 40, 3, 8, 8});   // a row block is a row
    agree<T>({SketchKind::gaussian, 64, 3, 5, 0, false});
    agree<T>({SketchKind::srht, 128, 2, 200, 0, false}); // rows are taken again
}

} // namespace

TEST_CASE("every sketch has the bits of the CPU's in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        agree_on_small_inputs<double>();
        agree_on_small_inputs<float>();
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("sketches: more items than threads") {
    cuda_emu_seed(3);
    agree<double>({SketchKind::sjlt, 67000, 4, 200, 5});
    agree<float>({SketchKind::srht, 70000, 4, 33});
    agree<float>({SketchKind::uniform, 50, 600, 500});
    agree<double>({SketchKind::gaussian, 70000, 1, 70}); // S in two parts
    CHECK(cuda_emu_live() == 0);
}
