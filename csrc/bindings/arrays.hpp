// Between the core's memory and NumPy: who owns what.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "core/buffer.hpp"

namespace fastopt {

namespace py = pybind11;

// What the core reads: by rows, and where a T may lie; other arrays are copied.
template <class T>
using Rows = py::array_t<T, py::array::c_style | py::array::forcecast |
                                py::detail::npy_api::NPY_ARRAY_ALIGNED_>;

// A NumPy array on a Buffer's own memory, which it keeps alive.
template <class T> py::array_t<T> share(const Buffer<T>& buffer, std::vector<py::ssize_t> shape) {
    auto* owner = new std::shared_ptr<T>(buffer.owner());
    const py::capsule base(owner, [](void* p) { delete static_cast<std::shared_ptr<T>*>(p); });
    return py::array_t<T>(std::move(shape), buffer.data(), base);
}

template <class T> py::array_t<T> copy_of(const T* data, index_t n) {
    py::array_t<T> out(n);
    std::copy(data, data + n, out.mutable_data());
    return out;
}
template <class T> py::array_t<T> copy_of(const std::vector<T>& v) {
    return copy_of(v.data(), static_cast<index_t>(v.size()));
}

template <class T, int flags> std::vector<T> vector_of(const py::array_t<T, flags>& a) {
    return {a.data(), a.data() + a.size()};
}

// An array that is handed to user code again and again. Somebody may keep it, or a view of it: then
// the next call gets another one, so that nothing that a user holds ever changes or dangles.
template <class T> class Handout {
  public:
    py::array_t<T>& get(std::vector<py::ssize_t> shape) {
        const bool fits = array_ && array_.ref_count() == 1 && same(shape);
        if (!fits) array_ = py::array_t<T>(std::move(shape));
        return array_;
    }
    void drop() { array_ = py::array_t<T>(); }

  private:
    bool same(const std::vector<py::ssize_t>& shape) const {
        return array_.ndim() == static_cast<py::ssize_t>(shape.size()) &&
               std::equal(shape.begin(), shape.end(), array_.shape());
    }
    py::array_t<T> array_;
};

} // namespace fastopt
