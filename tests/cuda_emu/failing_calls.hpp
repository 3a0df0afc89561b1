// Solves whose every call of the CUDA runtime and its libraries fails once.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "core/error.hpp"
#include "cuda_emu.hpp"

// The n-th call of solve() fails, for each n: the solve ends with a BackendError (only what gives
// something back may fail in silence), nothing leaks, and the next solve has the result of the
// first; it is tried after every `stride`-th failure. Returns that result; same(a, b) compares two.
template <class Solve, class Same>
auto fail_every_call(long least_calls, long stride, Solve solve, Same same) {
    const long start = cuda_emu_calls(), released = cuda_emu_releases();
    const auto whole = solve();
    const long calls = cuda_emu_calls() - start, releases = cuda_emu_releases() - released;
    REQUIRE(calls > least_calls);
    CHECK(cuda_emu_live() == 0);
    long quiet = 0;
    for (long n = 1; n <= calls; ++n) {
        CAPTURE(n);
        cuda_emu_fail_call(n);
        try {
            const auto result = solve(); // not inside CHECK, which would catch
            CHECK(same(result, whole));
            ++quiet;
        } catch (const fastopt::BackendError& error) {
            const std::string words = error.what();
            const bool clear = words.find("failed") != std::string::npos ||
                               words.find("needs a CUDA device") != std::string::npos;
            CHECK(clear);
        }
        cuda_emu_fail_call(0);
        CHECK(cuda_emu_live() == 0);
        if (n % stride == 0) CHECK(same(solve(), whole));
    }
    CHECK(quiet == releases);
    return whole;
}
