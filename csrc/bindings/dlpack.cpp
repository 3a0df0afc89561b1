#include "bindings/dlpack.hpp"

#include <numeric>

#include "core/buffer.hpp"

namespace fastopt {
namespace {

constexpr const char* fresh = "dltensor";     // of a capsule that nobody has taken
constexpr const char* used = "used_dltensor"; // of one whose tensor is another's

std::string words(const dlpack::Device& d) {
    return d.type == dlpack::cuda ? "CUDA device " + std::to_string(d.ordinal)
                                  : "a device of DLPack's kind " + std::to_string(d.type);
}

void require_here(const dlpack::Device& where, const Queue& queue, const std::string& what) {
    const dlpack::Device here = {dlpack::cuda, ordinal(queue)};
    FASTOPT_REQUIRE(where.type == here.type && where.ordinal == here.ordinal,
                    what + " must live on " + words(here) + ", the current one; it lives on " +
                        words(where) + ". Move it there, or make that device current.");
}

// What a tensor that was lent keeps alive.
struct Lent {
    dlpack::Managed managed;
    std::shared_ptr<LentMemory> memory;
    std::vector<std::int64_t> shape, strides;
};

index_t count(const std::vector<index_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), index_t{1}, checked_product);
}

} // namespace

// ---- lending ---------------------------------------------------------------------------------

DeviceArray on_device(const std::shared_ptr<Queue>& queue, const py::array& array) {
    DeviceArray out;
    out.single = array.dtype().is(py::dtype::of<float>());
    out.shape.assign(array.shape(), array.shape() + array.ndim());
    const auto send = [&](const auto& rows) {
        out.memory = std::make_shared<LentMemory>(queue, rows.size(), rows.itemsize());
        upload(*queue, out.memory->data.get(), rows.data(),
               static_cast<std::size_t>(rows.nbytes()));
    };
    out.single ? send(Rows<float>(array)) : send(Rows<double>(array));
    return out;
}

py::tuple DeviceArray::device() const {
    return py::make_tuple(dlpack::cuda, ordinal(*memory->queue));
}

py::capsule DeviceArray::lend(const py::object& stream, const py::object& where,
                              const py::object& copied) {
    if (!where.is_none() && !where.equal(device()))
        throw py::buffer_error("this array can be lent only where it lives, on the device " +
                               py::repr(device()).cast<std::string>());
    const Stream theirs = stream.is_none() ? 1 : stream.cast<Stream>();
    if (theirs == 0 || theirs < -1)
        throw py::value_error("stream must be None, -1, 1, 2 or the handle of a stream, got " +
                              std::to_string(theirs));
    Queue& queue = *memory->queue;
    auto given = memory;
    if (!copied.is_none() && copied.cast<bool>()) {
        const std::size_t size = single ? sizeof(float) : sizeof(double);
        const index_t n = count(shape);
        given = std::make_shared<LentMemory>(memory->queue, n, size);
        if (n)
            copy(queue, given->data.get(), memory->data.get(), static_cast<std::size_t>(n) * size);
    }
    if (theirs != -1) {
        Moment now(queue);
        now.set();
        now.hold(theirs);
    }
    auto lent = std::make_unique<Lent>();
    lent->shape.assign(shape.begin(), shape.end());
    lent->strides.assign(shape.size(), 1);
    for (std::size_t k = shape.size(); k-- > 1;)
        lent->strides[k - 1] = lent->strides[k] * lent->shape[k];
    lent->managed = {{given->data.get(),
                      {dlpack::cuda, ordinal(queue)},
                      static_cast<std::int32_t>(shape.size()),
                      {dlpack::real_numbers, static_cast<std::uint8_t>(single ? 32 : 64), 1},
                      lent->shape.data(),
                      lent->strides.data(),
                      0},
                     lent.get(),
                     [](dlpack::Managed* m) { delete static_cast<Lent*>(m->context); }};
    given->lent = true;
    lent->memory = std::move(given);
    py::capsule capsule(&lent->managed, fresh, [](PyObject* object) {
        if (!PyCapsule_IsValid(object, fresh)) return; // somebody has taken it
        auto* m = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(object, fresh));
        m->deleter(m);
    });
    (void)lent.release();
    return capsule;
}

// ---- taking ----------------------------------------------------------------------------------

TakenArray::TakenArray(const std::shared_ptr<Queue>& queue, const std::string& what,
                       const py::object& x)
    : queue_(queue), read_(*queue) {
    using namespace pybind11::literals;
    const auto [type, there] = x.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    require_here({type, there}, *queue, what);
    const py::object capsule = x.attr("__dlpack__")("stream"_a = stream_of(*queue));
    if (!PyCapsule_IsValid(capsule.ptr(), fresh))
        throw py::type_error(what +
                             ": its __dlpack__ must return a capsule named 'dltensor', got " +
                             py::repr(capsule).cast<std::string>());
    taken_.reset(static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule.ptr(), fresh)));
    PyCapsule_SetName(capsule.ptr(), used);
    check(what);
    const dlpack::Tensor& t = tensor();
    if (t.ndim > 0) cols_ = t.shape[t.ndim - 1];
    if (t.ndim > 1) rows_ = t.shape[0];
    row_stride_ = cols_;
    if (t.strides && t.ndim > 0) col_stride_ = t.strides[t.ndim - 1];
    if (t.strides && t.ndim > 1) row_stride_ = t.strides[0];
}

void TakenArray::check(const std::string& what) const {
    const dlpack::Tensor& t = tensor();
    require_here(t.device, *queue_, what);
    FASTOPT_REQUIRE(t.type.code == dlpack::real_numbers && t.type.lanes == 1 &&
                        (t.type.bits == 64 || t.type.bits == 32),
                    what + " must hold numbers of type float64 or float32; theirs is DLPack's (" +
                        std::to_string(t.type.code) + ", " + std::to_string(t.type.bits) +
                        " bits, " + std::to_string(t.type.lanes) + " lanes). Convert it.");
    FASTOPT_REQUIRE(t.ndim <= 2, what + " must have at most two dimensions; it has " +
                                     std::to_string(t.ndim) + ".");
}

TakenArray::~TakenArray() { reading_ ? wait_for_device(*queue_) : read_.wait(); }

std::vector<py::ssize_t> TakenArray::shape() const {
    return {tensor().shape, tensor().shape + tensor().ndim};
}

template <class T> Strided<T> TakenArray::view() const {
    const char* data = static_cast<const char*>(tensor().data) + tensor().byte_offset;
    return {reinterpret_cast<const T*>(data), rows_, cols_, row_stride_, col_stride_};
}

template <class T> void TakenArray::copy_to(T* to) {
    reading_ = true; // until a moment says when it ends
    if (single())
        copy_rows(*queue_, view<float>(), to);
    else if constexpr (std::is_same_v<T, double>)
        copy_rows(*queue_, view<double>(), to);
    read_.set();
    reading_ = false;
}
template void TakenArray::copy_to(double*);
template void TakenArray::copy_to(float*);

template <class T> const T* TakenArray::rows() {
    if (!by_rows()) return nullptr;
    reading_ = true;
    return view<T>().data;
}
template const double* TakenArray::rows();
template const float* TakenArray::rows();

template <class T> py::array TakenArray::fetch_as() {
    py::array_t<T> out(shape());
    if (size() == 0) return out;
    const auto bytes = static_cast<std::size_t>(out.nbytes());
    if (const T* there = rows<T>()) {
        download(*queue_, out.mutable_data(), there, bytes);
        reading_ = false; // the download has waited
        return out;
    }
    const Array<T> copied(queue_, size());
    copy_to(copied.data());
    download(*queue_, out.mutable_data(), copied.data(), bytes);
    return out;
}

py::array TakenArray::fetch() { return single() ? fetch_as<float>() : fetch_as<double>(); }

} // namespace fastopt
