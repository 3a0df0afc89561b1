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
    admm_cases::Samples samples = admm_cases::Samples(shape_of_all);
    Numbers y = admm_cases::random_numbers(2 * 24, 31);

    AdmmResult solve(LossKind kind, index_t maxiter, bool paper = false) {
        if (kind != LossKind::squared)
            for (double& v : y) v = v > 0 ? 1 : -1;
        ProgramShape shape;
        shape.n = 24, shape.d = 3, shape.n_gates = 4, shape.c = 2;
        Program program(shape, samples.x.data(), samples.gates.data(),
                        Loss(kind, 24, 2, y, {}, 1, 1, make_queue()), 1);
        AdmmMonitor monitor;
        AdmmOptions options;
        options.maxiter = maxiter, options.gap_tol = 1e-14;
        if (paper) return PaperSolver<double>(program, 1000).solve(0.3, options, nullptr, monitor);
        return SplittingSolver<double>(program, 1000).solve(0.3, options, nullptr, monitor);
    }
};

} // namespace

TEST_CASE("every step agrees with the CPU's in ten orders of the threads") {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
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
        const LossKind kind = paper ? LossKind::squared : LossKind::logistic;
        const index_t maxiter = 2;
        const long start = cuda_emu_calls(), released = cuda_emu_releases();
        const AdmmResult whole = Problem().solve(kind, maxiter, paper);
        const long calls = cuda_emu_calls() - start, releases = cuda_emu_releases() - released;
        REQUIRE(calls > 100);
        CHECK(cuda_emu_live() == 0);
        long quiet = 0;
        for (long n = 1; n <= calls; ++n) {
            cuda_emu_fail_call(n);
            try {
                const AdmmResult result = Problem().solve(kind, maxiter, paper);
                CHECK(result.weights == whole.weights);
                ++quiet;
            } catch (const BackendError& error) {
                const std::string words = error.what();
                const bool clear = words.find("failed") != std::string::npos ||
                                   words.find("needs a CUDA device") != std::string::npos;
                CHECK(clear);
            }
            cuda_emu_fail_call(0);
            CHECK(cuda_emu_live() == 0);
            if (n % 8 == 0) CHECK(Problem().solve(kind, maxiter, paper).weights == whole.weights);
        }
        CHECK(quiet == releases);
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

TEST_CASE("admm_relu: what the CPU alone can do says so") {
    const admm_cases::Samples k(shape_of_all);
    Design<double> design(24, 3, 4, 1, nullptr, nullptr, 1);
    const auto refused = [](const std::string& words) {
        return words.find("device='cpu'") != std::string::npos;
    };
    try {
        GraphProjection<double> graph(design, 2, 5);
        FAIL("a system beyond max_dense");
    } catch (const BackendError& error) {
        CHECK(refused(error.what()));
    }
    ProgramShape shape;
    shape.n = 24, shape.d = 3, shape.n_gates = 4, shape.robust = true;
    try {
        Program program(shape, k.x.data(), k.gates.data(),
                        Loss(LossKind::squared, 24, 1, Numbers(24), {}, 1, 1), 1, {0.1, 0.1, 0.1});
        FAIL("a robust program");
    } catch (const std::invalid_argument& error) {
        CHECK(refused(error.what()));
    }
}
