// The pool: every block once, from any number of threads and callers, nested, cancelled, forked.
#include "core/parallel.hpp"

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace fastopt;

namespace {

void pause_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

// How often each block ran.
std::vector<int> counts_of(index_t n, int threads) {
    std::vector<std::atomic<int>> ran(static_cast<std::size_t>(n));
    parallel_for(n, threads, [&](index_t b) { ran[static_cast<std::size_t>(b)].fetch_add(1); });
    return {ran.begin(), ran.end()};
}

struct Interrupt {};

// The sum of 1 .. n by blocks, with a double per block: the way the solvers work.
double block_sum(index_t n, int threads) {
    const index_t size = 100, n_blocks = (n + size - 1) / size;
    std::vector<double> partial(static_cast<std::size_t>(n_blocks));
    parallel_for(n_blocks, threads, [&](index_t b) {
        for (index_t i = b * size; i < std::min(n, (b + 1) * size); ++i)
            partial[static_cast<std::size_t>(b)] += 1.0 / static_cast<double>(i + 1);
    });
    double sum = 0;
    for (const double p : partial) sum += p;
    return sum;
}

} // namespace

TEST_CASE("every block runs once") {
    for (const int threads : {0, 1, 2, 3, 8, 33})
        for (const index_t n : {0, 1, 2, 3, 7, 100, 5000}) {
            CAPTURE(threads);
            CAPTURE(n);
            CHECK(counts_of(n, threads) == std::vector<int>(static_cast<std::size_t>(n), 1));
        }
}

TEST_CASE("more than one thread works, and no more than were asked for") {
    std::mutex mutex;
    std::set<std::thread::id> seen;
    int running = 0, most = 0;
    parallel_for(64, 3, [&](index_t) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            seen.insert(std::this_thread::get_id());
            most = std::max(most, ++running);
        }
        pause_a_little();
        const std::lock_guard<std::mutex> lock(mutex);
        --running;
    });
    CHECK(seen.size() >= 2);
    CHECK(most <= 3);
}

TEST_CASE("results do not depend on threads") {
    const double one = block_sum(12345, 1);
    for (const int threads : {2, 3, 4, 7})
        for (int again = 0; again < 20; ++again) CHECK(block_sum(12345, threads) == one);
}

TEST_CASE("loops nest") {
    std::vector<std::atomic<int>> ran(20 * 30 * 5);
    parallel_for(20, 4, [&](index_t a) {
        parallel_for(30, 4, [&](index_t b) {
            parallel_for(5, 2, [&](index_t c) {
                ran[static_cast<std::size_t>((a * 30 + b) * 5 + c)].fetch_add(1);
            });
        });
    });
    for (const auto& r : ran) CHECK(r.load() == 1);
}

TEST_CASE("many callers share the pool") {
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 8; ++c)
        callers.emplace_back([&wrong, c] {
            for (int i = 0; i < 100; ++i) {
                const index_t n = 1 + (c * 37 + i * 11) % 50;
                if (counts_of(n, 1 + i % 4) != std::vector<int>(static_cast<std::size_t>(n), 1))
                    wrong.fetch_add(1);
            }
        });
    for (std::thread& t : callers) t.join();
    CHECK(wrong.load() == 0);
}

TEST_CASE("the first exception comes back, later blocks are cancelled, the pool lives on") {
    for (const int threads : {1, 2, 4}) {
        std::atomic<int> ran{0};
        CAPTURE(threads);
        CHECK_THROWS_WITH_AS(parallel_for(1000, threads,
                                          [&](index_t b) {
                                              if (b == 7) throw std::runtime_error("block 7");
                                              ran.fetch_add(1);
                                              pause_a_little();
                                          }),
                             "block 7", std::runtime_error);
        CHECK(ran.load() < 1000);
        CHECK(counts_of(100, threads) == std::vector<int>(100, 1));
    }
}

TEST_CASE("when every block throws, one exception comes back") {
    for (int again = 0; again < 50; ++again) {
        std::string message;
        try {
            parallel_for(16, 4, [](index_t b) { throw std::runtime_error(std::to_string(b)); });
        } catch (const std::runtime_error& error) {
            message = error.what();
        }
        CHECK_FALSE(message.empty());
        CHECK(std::atoi(message.c_str()) < 16);
    }
    CHECK(counts_of(100, 4) == std::vector<int>(100, 1));
}

namespace {

// Counts the ends of its life on other threads than the one that threw it.
struct Homebound {
    std::thread::id home = std::this_thread::get_id();
    std::atomic<int>* strays;
    explicit Homebound(std::atomic<int>* s) : strays(s) {}
    Homebound(const Homebound&) = default;
    ~Homebound() {
        if (std::this_thread::get_id() != home) strays->fetch_add(1);
    }
};

} // namespace

TEST_CASE("an exception of the caller's thread ends its life there") {
    // An exception of Python needs the interpreter's lock to go away: no helper may be left with
    // it.
    std::atomic<int> strays{0};
    const std::thread::id caller = std::this_thread::get_id();
    for (int again = 0; again < 2000; ++again) {
        std::atomic<int> inside{0};
        CHECK_THROWS_AS(parallel_for(2, 2,
                                     [&](index_t) {
                                         ++inside;
                                         while (inside.load() < 2) std::this_thread::yield();
                                         if (std::this_thread::get_id() == caller)
                                             throw Homebound(&strays);
                                     }),
                        Homebound);
    }
    pause_a_little();
    CHECK(strays.load() == 0);
}

TEST_CASE("an exception passes through nested loops") {
    CHECK_THROWS_AS(parallel_for(8, 3,
                                 [](index_t) {
                                     parallel_for(8, 3, [](index_t b) {
                                         if (b == 3) throw std::logic_error("inner");
                                     });
                                 }),
                    std::logic_error);
    CHECK(counts_of(50, 3) == std::vector<int>(50, 1));
}

TEST_CASE("an exception that is no std::exception passes too") {
    CHECK_THROWS_AS(parallel_for(8, 3,
                                 [](index_t b) {
                                     if (b == 5) throw 42;
                                 }),
                    int);
}

TEST_CASE("a poll that throws cancels the loop") {
    for (const int threads : {1, 2, 4}) {
        std::atomic<int> ran{0};
        int polled = 0;
        {
            const ScopedPoll poll([&] {
                if (++polled == 3) throw Interrupt();
            });
            CAPTURE(threads);
            CHECK_THROWS_AS(parallel_for(10000, threads,
                                         [&](index_t) {
                                             ran.fetch_add(1);
                                             pause_a_little();
                                         }),
                            Interrupt);
        }
        CHECK(ran.load() < 10000);
        CHECK(polled == 3);
        CHECK(counts_of(100, threads) == std::vector<int>(100, 1)); // and nobody polls any more
        CHECK(polled == 3);
    }
}

TEST_CASE("the caller polls while it waits for a helper") {
    // The caller's own block is short; the helper's ends only when the poll has run.
    std::atomic<bool> interrupted{false};
    std::atomic<int> inside{0};
    const std::thread::id caller = std::this_thread::get_id();
    const ScopedPoll poll([&] {
        if (inside.load() == 1) {
            interrupted.store(true);
            throw Interrupt();
        }
    });
    CHECK_THROWS_AS(parallel_for(2, 2,
                                 [&](index_t) {
                                     if (std::this_thread::get_id() == caller) {
                                         while (inside.load() == 0) pause_a_little();
                                         return;
                                     }
                                     inside.store(1);
                                     while (!interrupted.load()) pause_a_little();
                                 }),
                    Interrupt);
    CHECK(interrupted.load());
}

TEST_CASE("polls stack") {
    int outer = 0, inner = 0;
    const ScopedPoll first([&] { ++outer; });
    parallel_for(3, 1, [](index_t) {});
    CHECK(outer == 3);
    {
        const ScopedPoll second([&] { ++inner; });
        parallel_for(4, 1, [](index_t) {});
    }
    parallel_for(2, 1, [](index_t) {});
    CHECK(outer == 5);
    CHECK(inner == 4);
}

TEST_CASE("a forked child has a pool of its own") {
    CHECK(counts_of(200, 4) == std::vector<int>(200, 1)); // the parent's threads sleep now
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(10); // a child that hangs is killed
        // Several threads ask for the new pool at once.
        std::atomic<int> wrong{0};
        std::vector<std::thread> callers;
        for (int c = 0; c < 4; ++c)
            callers.emplace_back([&] {
                if (counts_of(500, 4) != std::vector<int>(500, 1)) wrong.fetch_add(1);
            });
        for (std::thread& t : callers) t.join();
        ::_exit(wrong.load() == 0 ? 23 : 24);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 23);
    CHECK(counts_of(200, 4) == std::vector<int>(200, 1));
}

TEST_CASE("the number of threads can be set by the environment") {
    CHECK(default_threads() >= 1);
    ::setenv("FASTOPT_NUM_THREADS", "3", 1);
    CHECK(default_threads() == 3);
    for (const char* nonsense : {"0", "-2", "many", ""}) {
        ::setenv("FASTOPT_NUM_THREADS", nonsense, 1);
        CHECK(default_threads() >= 1);
    }
    ::unsetenv("FASTOPT_NUM_THREADS");
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true; // a sanitizer needs memory of its own: the limit would kill it
#else
constexpr bool sanitized = false;
#endif

TEST_CASE("without another thread to be had the caller does the work" * doctest::skip(sanitized)) {
    const pid_t child = ::fork(); // a limit cannot be raised again: a process of its own
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(10);
        const rlimit none{0, 0}; // of memory: a new thread finds none for its stack
        if (::setrlimit(RLIMIT_AS, &none) != 0) ::_exit(25);
        std::atomic<int> ran{0};
        parallel_for(100, 4, [&](index_t) { ran.fetch_add(1); });
        ::_exit(ran.load() == 100 ? 23 : 24);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 23);
}
