// Every device kernel of admm_relu against the CPU's steps (admm_cases.hpp), on the emulated
// device, for ten orders of the threads; and a solve whose every call fails once.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>

#include "admm_cases.hpp"
#include "core/error.hpp"

#include "cuda_emu.hpp"
#include "failing_calls.hpp"

using namespace fastopt;
using admm_cases::Numbers;

namespace {

// Compares what it is given with the next numbers of the file.
class Comparison {
  public:
    Comparison() : file_(std::fopen(FASTOPT_ADMM_REFERENCE, "rb")) { REQUIRE(file_); }
    ~Comparison() { std::fclose(file_); }
    Comparison(const Comparison&) = delete;
    Comparison& operator=(const Comparison&) = delete;

    void operator()(const std::string& name, const Numbers& got, double tolerance) {
        CAPTURE(name);
        std::size_t size = 0;
        REQUIRE(std::fread(&size, sizeof size, 1, file_) == 1);
        Numbers expected(size);
        REQUIRE(std::fread(expected.data(), sizeof(double), size, file_) == size);
        if (skipping) return;
        REQUIRE(got.size() == size);
        double scale = 0;
        for (const double x : expected)
            if (std::isfinite(x)) scale = std::max(scale, std::abs(x));
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < size; ++i)
            if (!(got[i] == expected[i] || std::abs(got[i] - expected[i]) <= tolerance * scale))
                ++wrong;
        CHECK(wrong == 0);
    }
    bool skipping = false;

  private:
    std::FILE* file_;
};

const admm_cases::Shape shape_of_all = {24, 3, 4, 2};

struct Problem {
    explicit Problem(const admm_cases::Shape& s = shape_of_all)
        : samples(s), y(admm_cases::random_numbers(s.c * s.n, 31)) {
        options.gap_tol = 1e-14;
    }
    AdmmResult solve(LossKind kind, index_t maxiter, bool paper = false) {
        const admm_cases::Shape& s = samples.shape;
        if (kind != LossKind::squared)
            for (double& v : y) v = v > 0 ? 1 : -1;
        ProgramShape shape;
        shape.n = s.n, shape.d = s.d, shape.n_gates = s.p, shape.c = s.c;
        Program program(shape, samples.x.data(), samples.gates.data(),
                        Loss(kind, s.n, s.c, y, {}, 1, 1, make_queue()), 1);
        AdmmMonitor monitor;
        options.maxiter = maxiter;
        const double* start = warm.empty() ? nullptr : warm.data();
        if (paper) return PaperSolver<double>(program, 1000).solve(0.3, options, start, monitor);
        return SplittingSolver<double>(program, 1000).solve(0.3, options, start, monitor);
    }
    admm_cases::Samples samples;
    Numbers y, warm; // warm: where to start, or empty
    AdmmOptions options;
};

} // namespace

TEST_CASE("every step agrees with the CPU's in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < cuda_emu_seeds(); ++seed) {
        cuda_emu_seed(seed);
        CAPTURE(seed);
        Comparison compare;
        admm_cases::Cases<Comparison>(compare, make_queue()).all();
        CHECK(cuda_emu_live() == 0);
    }
}

TEST_CASE("admm_relu: more items than threads in the grid") {
    cuda_emu_seed(3);
    Comparison compare;
    admm_cases::Cases<Comparison> cases(compare, make_queue());
    compare.skipping = true;
    cases.all();
    compare.skipping = false;
    cases.more_items_than_threads();
}

TEST_CASE("a solve has the same bits in any order of the threads") {
    cuda_emu_seed(0);
    const AdmmResult first = Problem().solve(LossKind::logistic, 30);
    CHECK(first.dual <= first.fun);
    CHECK(first.newton_steps > 0);
    for (std::uint64_t seed = 1; seed < 4; ++seed) {
        cuda_emu_seed(seed);
        const AdmmResult again = Problem().solve(LossKind::logistic, 30);
        CHECK(again.weights == first.weights);
        CHECK(again.dual == first.dual);
    }
    CHECK(cuda_emu_live() == 0);
}

TEST_CASE("admm_relu: every failing call gives an exception, no leak, and the next solve works") {
    for (const bool paper : {false, true}) {
        Problem problem({10, 2, 2, 1}); // from a warm start, so that Newton runs too
        const auto solve = [&] { return problem.solve(LossKind::logistic, 1, paper); };
        problem.options.polish = false;
        problem.warm = problem.solve(LossKind::logistic, 8, paper).weights;
        problem.options.polish = true, problem.options.gap_tol = 0.1;
        const AdmmResult whole =
            fail_every_call(100, 16, solve, [](const AdmmResult& a, const AdmmResult& b) {
                return a.weights == b.weights;
            });
        CHECK((paper || whole.newton_steps > 0));
    }
}

TEST_CASE("admm_relu: without memory a solve throws bad_alloc, and leaks nothing") {
    int failed = 0;
    for (std::size_t limit = 64; limit < 256 * 1024; limit = limit * 3 / 2) {
        cuda_emu_memory_limit(limit);
        try {
            Problem().solve(LossKind::squared, 2);
        } catch (const std::bad_alloc&) {
            ++failed;
        }
        CHECK(cuda_emu_live() == 0);
    }
    cuda_emu_memory_limit(0);
    CHECK(failed > 5);
}
