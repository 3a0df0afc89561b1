// The user's callback and Ctrl-C, seen from a solver: shared by all solvers.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <memory>
#include <string>

#include "bindings/arrays.hpp"
#include "core/error.hpp"
#include "core/interfaces.hpp"
#include "core/snapshot.hpp"

namespace fastopt {

inline py::dict to_dict(const Snapshot& s) {
    py::dict out;
    for (const auto& [name, values] : s.reals) out[py::str(name)] = copy_of(values);
    for (const auto& [name, values] : s.integers) out[py::str(name)] = copy_of(values);
    return out;
}

inline Snapshot to_snapshot(const py::dict& d) {
    Snapshot s;
    for (const auto& [key, value] : d) {
        const auto name = key.cast<std::string>();
        const auto array = py::array::ensure(value);
        FASTOPT_REQUIRE(array && array.ndim() == 1, "state['" + name + "'] must be a 1-D array");
        if (array.dtype().kind() == 'f')
            s.reals[name] = vector_of(Rows<double>(array));
        else
            s.integers[name] = vector_of(Rows<std::int64_t>(array));
    }
    return s;
}

// A record that Python may keep: numbers are copied; `state` works during the call only.
struct PyRecord {
    Record r;
    py::array_t<double> x, consensus;
};

class PyMonitor final : public Monitor {
  public:
    // `fn(record)` once per iteration; `poll()` every 50 ms, to end the run by an exception.
    explicit PyMonitor(py::object fn, py::object poll = py::object())
        : fn_(std::move(fn)), poll_(std::move(poll)) {}
    ~PyMonitor() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::object(), poll_ = py::object();
    }
    bool stop(const Record& r) override {
        if (!fn_) return false;
        const py::gil_scoped_acquire gil;
        const auto record = std::make_shared<PyRecord>(
            PyRecord{r, copy_of(r.x, r.dim), copy_of(r.consensus, r.dim)});
        const bool answer = py::bool_(fn_(record));
        record->r.snapshot = nullptr;
        return answer;
    }
    void poll() override {
        const auto now = std::chrono::steady_clock::now();
        if (now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (poll_) poll_();
    }

  private:
    py::object fn_, poll_; // null where there is none
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

} // namespace fastopt
