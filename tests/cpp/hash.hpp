// FNV-1a over the bytes of an array: a short name for a long result.
#pragma once

#include <cstdint>
#include <vector>

template <class T> std::uint64_t hash_of(const T* data, std::size_t n) {
    std::uint64_t h = 0xcbf29ce484222325u;
    const unsigned char* p = reinterpret_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < n * sizeof(T); ++i) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}
template <class T> std::uint64_t hash_of(const std::vector<T>& v) {
    return hash_of(v.data(), v.size());
}
