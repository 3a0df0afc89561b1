// The native named objectives: their numbers, names and dimensions. The mathematics is in
// objectives.inl, the known minimisers and usual boxes in python/fastopt/problems.py.
#pragma once

#include "core/types.hpp"

#include <string>

namespace fastopt {

enum class ObjectiveId {
    sphere,
    ellipsoid,
    rastrigin,
    rastrigin_mild,
    ackley,
    rosenbrock,
    griewank,
    schwefel,
    levy,
    michalewicz,
    styblinski_tang,
    zakharov,
    canyon
};

struct ObjectiveInfo {
    ObjectiveId id;
    const char* name;
    index_t min_dim, max_dim; // max_dim = 0: no limit
};

constexpr ObjectiveInfo objective_table[] = {
    {ObjectiveId::sphere, "sphere", 1, 0},
    {ObjectiveId::ellipsoid, "ellipsoid", 1, 0},
    {ObjectiveId::rastrigin, "rastrigin", 1, 0},
    {ObjectiveId::rastrigin_mild, "rastrigin_mild", 1, 0},
    {ObjectiveId::ackley, "ackley", 1, 0},
    {ObjectiveId::rosenbrock, "rosenbrock", 2, 0},
    {ObjectiveId::griewank, "griewank", 1, 0},
    {ObjectiveId::schwefel, "schwefel", 1, 0},
    {ObjectiveId::levy, "levy", 1, 0},
    {ObjectiveId::michalewicz, "michalewicz", 1, 0},
    {ObjectiveId::styblinski_tang, "styblinski_tang", 1, 0},
    {ObjectiveId::zakharov, "zakharov", 1, 0},
    {ObjectiveId::canyon, "canyon", 2, 2},
};

// The objective called `name`; throws std::invalid_argument for an unknown name or a dimension that
// the function does not have.
ObjectiveId objective_id(const std::string& name, index_t d);

// Terms are computed at most this many coordinates at a time (whole rows where they fit).
constexpr index_t objective_chunk = 1024;

// How many elements of scratch `evaluate_rows` needs at any number of rows; 0 without a shift and a
// rotation.
constexpr index_t objective_scratch(index_t d, bool shifted, bool rotated) {
    constexpr index_t pad = 32;
    if (rotated) return 2 * (8 * d > objective_chunk ? 8 * d : objective_chunk) + pad;
    return shifted ? (d > objective_chunk ? d : objective_chunk) + pad : 0;
}

} // namespace fastopt
