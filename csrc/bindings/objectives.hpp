// Objectives as Python holds them, and those that call Python.
#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>

#include "bindings/arrays.hpp"
#include "core/interfaces.hpp"

namespace fastopt {

// fn(X, f, v) fills f (and v): X is a copy that fn may overwrite or keep.
template <class T> class BatchObjective : public Objective<T> {
  public:
    BatchObjective(py::function fn, index_t d, bool constrained)
        : fn_(std::move(fn)), d_(d), constrained_(constrained) {}
    ~BatchObjective() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::function();
        x_.drop(), f_.drop(), v_.drop();
    }
    void evaluate(T* x, index_t n, double* f, double* violation) override {
        const py::gil_scoped_acquire gil;
        auto& points = x_.get({n, d_});
        std::copy(x, x + n * d_, points.mutable_data());
        auto& values = f_.get({n});
        if (!constrained_) {
            fn_(points, values, py::none());
        } else {
            auto& violations = v_.get({n});
            fn_(points, values, violations);
            std::copy(violations.data(), violations.data() + n, violation);
        }
        std::copy(values.data(), values.data() + n, f);
    }
    bool constrained() const override { return constrained_; }
    bool preserves_points() const override { return true; }

  protected:
    index_t dim() const { return d_; }

  private:
    py::function fn_;
    index_t d_;
    bool constrained_;
    Handout<T> x_;
    Handout<double> f_, v_;
};

// What Python holds of an objective: enough to make it in either precision.
class AnyObjective {
  public:
    virtual ~AnyObjective() = default;
    virtual std::unique_ptr<Objective<double>> make_f64(index_t d, int threads) const = 0;
    virtual std::unique_ptr<Objective<float>> make_f32(index_t d, int threads) const = 0;

    template <class T> std::unique_ptr<Objective<T>> make(index_t d, int threads) const {
        if constexpr (std::is_same_v<T, double>)
            return make_f64(d, threads);
        else
            return make_f32(d, threads);
    }
};

template <class Maker> class ObjectiveBy final : public AnyObjective {
  public:
    explicit ObjectiveBy(Maker maker) : maker_(std::move(maker)) {}
    std::unique_ptr<Objective<double>> make_f64(index_t d, int threads) const override {
        return maker_(double{}, d, threads);
    }
    std::unique_ptr<Objective<float>> make_f32(index_t d, int threads) const override {
        return maker_(float{}, d, threads);
    }

  private:
    Maker maker_;
};

template <class Maker> std::shared_ptr<AnyObjective> objective_by(Maker maker) {
    return std::make_shared<ObjectiveBy<Maker>>(std::move(maker));
}

template <class T> using Made = std::unique_ptr<Objective<T>>;

// A Python object that threads without the GIL may hold and let go.
inline std::shared_ptr<py::object> kept(const py::object& object) {
    return {new py::object(object), [](py::object* o) {
                const py::gil_scoped_acquire gil;
                delete o;
            }};
}

} // namespace fastopt
