// What is saved comes back to the bit; what does not fit is refused by name.
#include "core/snapshot.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

using namespace fastopt;

namespace {

enum class Colour { red, green };

struct State {
    double real = 0;
    std::vector<double> reals;
    Buffer<double> wide;
    Buffer<float> narrow;
    index_t count = 0;
    int small = 0;
    bool flag = false;
    Colour colour = Colour::red;
    std::vector<index_t> order;

    State() : wide(3), narrow(4) {}

    template <class Archive> void visit(Archive& a) {
        a("real", real), a("reals", reals), a("wide", wide), a("narrow", narrow);
        a("count", count), a("small", small), a("flag", flag), a("colour", colour);
        a("order", order);
    }
};

State filled() {
    State s;
    s.real = 0.1;
    s.reals = {-0.0, std::numeric_limits<double>::infinity(), 5e-324, 1e308};
    for (index_t i = 0; i < 3; ++i) s.wide[i] = 1.0 / static_cast<double>(i + 3);
    const float floats[] = {0.1f, std::numeric_limits<float>::denorm_min(),
                            std::numeric_limits<float>::max(), -0.0f};
    for (index_t i = 0; i < 4; ++i) s.narrow[i] = floats[i];
    s.count = (index_t{1} << 62) + 1; // a double could not hold it
    s.small = -7;
    s.flag = true;
    s.colour = Colour::green;
    s.order = {3, 1, 2};
    return s;
}

Snapshot saved(State& s) {
    Snapshot out;
    Save save(out);
    s.visit(save);
    return out;
}

template <class T> bool same_bits(const T* a, const T* b, std::size_t n) {
    return std::memcmp(a, b, n * sizeof(T)) == 0;
}

// The message of the exception that loading gives.
std::string refusal(const Snapshot& snapshot) {
    State s;
    Load load(snapshot);
    try {
        s.visit(load);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

} // namespace

TEST_CASE("a state comes back to the bit") {
    State before = filled();
    const Snapshot snapshot = saved(before);
    State after;
    Load load(snapshot);
    after.visit(load);
    CHECK(same_bits(&after.real, &before.real, 1));
    REQUIRE(after.reals.size() == before.reals.size());
    CHECK(same_bits(after.reals.data(), before.reals.data(), before.reals.size()));
    CHECK(same_bits(after.wide.data(), before.wide.data(), 3));
    CHECK(same_bits(after.narrow.data(), before.narrow.data(), 4));
    CHECK(after.count == before.count);
    CHECK(after.small == before.small);
    CHECK(after.flag == before.flag);
    CHECK(after.colour == before.colour);
    CHECK(after.order == before.order);
}

TEST_CASE("not-a-number survives") {
    State before = filled();
    before.real = std::numeric_limits<double>::quiet_NaN();
    before.narrow[0] = std::numeric_limits<float>::quiet_NaN();
    const Snapshot snapshot = saved(before);
    State after;
    Load load(snapshot);
    after.visit(load);
    CHECK(std::isnan(after.real));
    CHECK(std::isnan(after.narrow[0]));
}

TEST_CASE("a missing name is told") {
    State s = filled();
    const Snapshot whole = saved(s);
    for (const auto& entry : whole.reals) {
        Snapshot part = whole;
        part.reals.erase(entry.first);
        CHECK(refusal(part).find("lacks '" + entry.first + "'") != std::string::npos);
    }
    for (const auto& entry : whole.integers) {
        Snapshot part = whole;
        part.integers.erase(entry.first);
        CHECK(refusal(part).find("lacks '" + entry.first + "'") != std::string::npos);
    }
    CHECK(refusal(whole).empty());
}

TEST_CASE("an array of another length is told") {
    State s = filled();
    Snapshot snapshot = saved(s);
    snapshot.reals["wide"].push_back(1);
    CHECK(refusal(snapshot).find("'wide' has 4 numbers, expected 3") != std::string::npos);
    snapshot = saved(s);
    snapshot.reals["narrow"].clear();
    CHECK(refusal(snapshot).find("'narrow' has 0 numbers, expected 4") != std::string::npos);
}

TEST_CASE("several numbers where one belongs are told") {
    State s = filled();
    Snapshot snapshot = saved(s);
    snapshot.reals["real"] = {1, 2};
    CHECK(refusal(snapshot).find("'real' is not a single number") != std::string::npos);
    snapshot = saved(s);
    snapshot.integers["count"] = {};
    CHECK(refusal(snapshot).find("'count' is not a single number") != std::string::npos);
}
