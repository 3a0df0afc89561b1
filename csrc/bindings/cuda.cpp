// What only the CUDA backend's module has: words about the device, and arrays that live there.
#include "backend/cuda.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/dlpack.hpp"
#include "bindings/matrix.hpp"
#include "bindings/objectives.hpp"
#include "bindings/queue.hpp"

namespace fastopt {
namespace {

std::string words_of(const std::vector<py::ssize_t>& shape) {
    return py::str(py::tuple(py::cast(shape)));
}

// An objective of arrays that live on the device: resident(X) -> (n,), by DLPack, X a copy of the
// points that it may overwrite or keep. Where the core's points are on the host, fn is called.
template <class T> class ResidentObjective final : public BatchObjective<T> {
  public:
    ResidentObjective(py::function fn, py::function resident, index_t d)
        : BatchObjective<T>(std::move(fn), d, false), resident_(std::move(resident)) {}
    ~ResidentObjective() override {
        const py::gil_scoped_acquire gil;
        values_.reset(), points_.reset();
        resident_ = py::function();
    }
    bool evaluate_resident(const std::shared_ptr<Queue>& queue, const T* x, index_t n,
                           double* f) override {
        const py::gil_scoped_acquire gil;
        values_.reset(); // of the last call: read long ago
        const index_t d = this->dim(), size = checked_product(n, d);
        if (!points_ || points_->queue != queue || size_ != size)
            points_ = std::make_shared<LentMemory>(queue, size, sizeof(T));
        size_ = size;
        copy(*queue, points_->data.get(), x, static_cast<std::size_t>(size) * sizeof(T));
        {
            const py::object answer =
                resident_(DeviceArray{points_, {n, d}, std::is_same_v<T, float>});
            values_.emplace(queue, "the array that func returned", answer);
        }
        if (values_->size() != n)
            throw py::value_error("The vectorized function must return an array of shape (S,) when "
                                  "given an array of shape (len(x), S): func returned an array of "
                                  "shape " +
                                  words_of(values_->shape()) + " for S = " + std::to_string(n) +
                                  ".");
        values_->copy_to(f);
        // The queue waits for the values, and so for all that was done with points that nobody
        // holds any more: they can be overwritten.
        if (points_.use_count() == 1)
            points_->lent = false;
        else
            points_.reset();
        return true;
    }

  private:
    py::function resident_;
    std::shared_ptr<LentMemory> points_; // of the last call
    index_t size_ = 0;
    std::optional<TakenArray> values_;
};

std::shared_ptr<AnyObjective> resident_objective(const py::function& fn,
                                                 const py::function& resident) {
    return objective_by([fn = kept(fn), resident = kept(resident)](auto zero, index_t d,
                                                                   int) -> Made<decltype(zero)> {
        const py::gil_scoped_acquire gil;
        return std::make_unique<ResidentObjective<decltype(zero)>>(*fn, *resident, d);
    });
}

template <class T>
void fill(DataMatrix<T>& view, const std::shared_ptr<TakenArray>& taken,
          const std::shared_ptr<Queue>& queue) {
    const auto shape = taken->shape();
    view.rows = shape[0], view.cols = shape[1], view.queue = queue;
    if (const T* there = taken->rows<T>()) {
        view.kernel = Input<T>(there, taken);
    } else {
        const auto copied = std::make_shared<Array<T>>(queue, taken->size());
        taken->copy_to(copied->data());
        view.kernel = Input<T>(copied->data(), copied);
    }
}

// A matrix that never leaves the device, of another library's memory if it lies by rows there. It
// can be sketched only.
std::shared_ptr<PyMatrix> device_matrix(const py::object& a, const std::string& what) {
    const auto queue = make_queue();
    const auto taken = std::make_shared<TakenArray>(queue, what, a);
    if (taken->shape().size() != 2)
        throw py::value_error(what + " must be a matrix with two dimensions; its shape is " +
                              words_of(taken->shape()) + ".");
    auto out = std::make_shared<PyMatrix>();
    out->single = taken->single();
    out->single ? fill(out->f32, taken, queue) : fill(out->f64, taken, queue);
    return out;
}

} // namespace

void bind_backend(py::module_& m) {
    using namespace pybind11::literals;
    m.def("cuda_info", [] {
        const CudaInfo info = cuda_info();
        return py::dict("available"_a = info.available, "reason"_a = info.reason,
                        "device"_a = info.device, "runtime"_a = info.runtime,
                        "driver"_a = info.driver);
    });
    m.def("cuda_free_memory", &cuda_free_memory,
          pybind11::call_guard<pybind11::gil_scoped_release>());
    m.def(
        "cuda_rates",
        [](index_t copied, index_t order, int repeats) {
            const CudaRates rates = cuda_rates(copied, order, repeats);
            return py::dict("bytes"_a = rates.bytes, "float64"_a = rates.flops_f64,
                            "float32"_a = rates.flops_f32);
        },
        "copied"_a, "order"_a, "repeats"_a = 5);

    py::class_<DeviceArray>(m, "DeviceArray", py::module_local())
        .def(py::init([](const PyQueue& queue, const py::array& array) {
                 return on_device(queue.queue, array);
             }),
             "queue"_a, "array"_a)
        .def_property_readonly("shape",
                               [](const DeviceArray& a) { return py::tuple(py::cast(a.shape)); })
        .def_property_readonly("dtype",
                               [](const DeviceArray& a) {
                                   return a.single ? py::dtype::of<float>()
                                                   : py::dtype::of<double>();
                               })
        .def("__dlpack_device__", &DeviceArray::device)
        .def(
            "__dlpack__",
            [](DeviceArray& a, const py::object& stream, const py::object& /*max_version*/,
               const py::object& dl_device,
               const py::object& copy) { return a.lend(stream, dl_device, copy); },
            py::kw_only(), "stream"_a = py::none(), "max_version"_a = py::none(),
            "dl_device"_a = py::none(), "copy"_a = py::none());
    m.def(
        "to_host",
        [](const py::object& x, const std::string& what) {
            return TakenArray(make_queue(), what, x).fetch();
        },
        "x"_a, "what"_a);
    m.def("device_matrix", &device_matrix, "A"_a, "what"_a);
    m.def("resident_objective", &resident_objective, "fn"_a, "resident"_a);
}

} // namespace fastopt
