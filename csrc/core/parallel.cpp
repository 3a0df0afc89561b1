#include "core/parallel.hpp"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

namespace fastopt {
namespace {

thread_local const std::function<void()>* current_poll = nullptr;

// One parallel_for. Threads take blocks from `next` until none is left; `inside` counts the threads
// that may still run a body.
struct Job {
    Job(index_t n, const std::function<void(index_t)>& f) : n_blocks(n), body(f) {}

    const index_t n_blocks;
    const std::function<void(index_t)>& body;
    std::atomic<index_t> next{0};
    std::mutex mutex;
    std::condition_variable left;
    std::atomic<int> inside{0}; // changed under the mutex
    std::exception_ptr error;

    bool enter() {
        const std::lock_guard<std::mutex> lock(mutex);
        if (next.load() >= n_blocks) return false;
        ++inside;
        return true;
    }

    void leave() {
        const std::lock_guard<std::mutex> lock(mutex);
        if (--inside == 0) left.notify_all();
    }

    void fail() {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
        next.store(n_blocks); // cancels the blocks not yet begun
    }

    void work(const std::function<void()>* poll) {
        try {
            for (index_t b; (b = next.fetch_add(1)) < n_blocks;) {
                body(b);
                if (poll) (*poll)();
            }
        } catch (...) {
            fail();
        }
    }
};

// Waits for what another thread will do within microseconds, or a little longer: falling asleep and
// being woken costs as much again, and every step of a solver has several such waits.
template <class Ready> void wait_briefly(Ready ready) {
    constexpr auto patience = std::chrono::microseconds(50);
    const auto start = std::chrono::steady_clock::now();
    while (!ready() && std::chrono::steady_clock::now() - start < patience)
        std::this_thread::yield(); // to whoever needs the core more
}

class Pool {
  public:
    void offer(const std::shared_ptr<Job>& job, int helpers) {
        const std::lock_guard<std::mutex> lock(mutex_);
        try {
            for (; n_workers_ < helpers; ++n_workers_)
                std::thread(&Pool::serve, this).detach(); // sleep for the process's life
        } catch (const std::system_error&) { // no more threads to be had: fewer will do
        }
        for (int i = 0; i < helpers; ++i) offers_.push_back(job);
        offered_ = !offers_.empty();
        wake_.notify_all();
    }

    void withdraw(const std::shared_ptr<Job>& job) {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (auto it = offers_.begin(); it != offers_.end();)
            it = *it == job ? offers_.erase(it) : it + 1;
        offered_ = !offers_.empty();
    }

  private:
    void serve() {
        for (;;) {
            std::shared_ptr<Job> job;
            wait_briefly([this] { return offered_.load(); });
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [this] { return !offers_.empty(); });
                job = std::move(offers_.front());
                offers_.pop_front();
                offered_ = !offers_.empty();
            }
            if (!job->enter()) continue;
            job->work(nullptr);
            job->leave();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> offers_;
    std::atomic<bool> offered_{false}; // whether there are any
    int n_workers_ = 0;
};

// The pool of this process. A forked child has none of the parent's threads (and perhaps a locked
// mutex), so it makes its own; the old one is left alone on purpose. No lock guards the choice: a
// lock could have been held by another thread at the moment of the fork.
Pool& pool() {
    struct Owned {
        pid_t owner;
        Pool pool;
    };
    static std::atomic<Owned*> current{nullptr};
    const pid_t me = ::getpid();
    Owned* now = current.load();
    while (!now || now->owner != me) {
        auto fresh = std::make_unique<Owned>();
        fresh->owner = me;
        if (current.compare_exchange_strong(now, fresh.get())) now = fresh.release();
    }
    return now->pool;
}

} // namespace

int default_threads() {
    if (const char* text = std::getenv("FASTOPT_NUM_THREADS")) {
        const int n = std::atoi(text);
        if (n > 0) return n;
    }
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    const unsigned n = std::thread::hardware_concurrency();
    return n > 0 ? static_cast<int>(n) : 1;
}

ScopedPoll::ScopedPoll(std::function<void()> poll) : poll_(std::move(poll)), outer_(current_poll) {
    current_poll = &poll_;
}
ScopedPoll::~ScopedPoll() { current_poll = outer_; }

void parallel_for(index_t n_blocks, int threads, const std::function<void(index_t)>& body) {
    const std::function<void()>* poll = current_poll;
    const index_t wanted = threads > 0 ? threads : default_threads();
    const int helpers = static_cast<int>((wanted < n_blocks ? wanted : n_blocks) - 1);
    if (helpers <= 0) {
        for (index_t b = 0; b < n_blocks; ++b) {
            body(b);
            if (poll) (*poll)();
        }
        return;
    }
    const auto job = std::make_shared<Job>(n_blocks, body);
    Pool& p = pool();
    p.offer(job, helpers);
    job->work(poll);
    p.withdraw(job);
    wait_briefly([&] { return job->inside == 0; });
    std::unique_lock<std::mutex> lock(job->mutex);
    while (!job->left.wait_for(lock, std::chrono::milliseconds(50),
                               [&] { return job->inside == 0; })) {
        if (!poll || job->error) continue;
        lock.unlock();
        try {
            (*poll)();
        } catch (...) {
            job->fail();
        }
        lock.lock();
    }
    // A helper may be the last to let go of the job, long after this call: the exception must not
    // die there, for its destructor may need this thread or the lock of an interpreter.
    const std::exception_ptr error = std::move(job->error);
    lock.unlock();
    if (error) std::rethrow_exception(error);
}

} // namespace fastopt
