#include "core.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace igr {

namespace {

constexpr int kAlign = 16;       // floats; parameters start and end at whole vectors of every instruction set
constexpr int64_t kGroups = 32;  // into which a batch's tiles are divided, at most: a group's sums are one task's
constexpr size_t kLargePage = size_t(1) << 21;  // bytes

}  // namespace

Floats::Floats(int64_t size) : size_(size) {
  const size_t bytes = size_t(round_up(size, kAlign)) * sizeof(float);
  const size_t align = bytes >= kLargePage ? kLargePage : 64;
  data_ = {static_cast<float*>(::operator new[](bytes, std::align_val_t(align))), Free{align}};
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (align == kLargePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // only advice: failure does no harm
#endif
  memset(data_.get(), 0, bytes);
}

Core::Core(const Shape& shape, const std::string& instruction_set)
    : shape_(shape),
      instruction_set_(instruction_set == "auto" ? instruction_sets().back() : instruction_set),
      kernels_{},
      network_{} {
  if (!find_kernels(instruction_set_)(kernels_, shape.dimension, shape.features, shape.width))
    throw std::invalid_argument("features must be 1, 2 or 4, and width 32 or 64");
  const int d = shape.dimension, width = shape.width, inputs = d + int(shape.levels.size()) * shape.features;
  if (inputs > kernels_.max_inputs)
    throw std::invalid_argument("too many levels: coordinates and features must be at most " +
                                std::to_string(kernels_.max_inputs));
  int64_t rows = 0;
  for (const Level& level : shape.levels) rows = std::max(rows, level.offset + level.rows);
  int64_t end = 0;
  const auto place = [&](const char* name, int64_t r, int64_t c) {
    places_.push_back({name, end, r, c});
    end += round_up(r * std::max<int64_t>(c, 1), kAlign);
    return places_.back().offset;
  };
  const int64_t weight1 = place("weight1", width, inputs), bias1 = place("bias1", width, 0);
  const int64_t weight2 = place("weight2", width, width), bias2 = place("bias2", width, 0);
  const int64_t weight3 = place("weight3", width, 0), bias3 = place("bias3", 1, 0);
  table_start_ = place("table", rows, shape.features);
  values = Floats(end);
  gradient_ = Floats(table_start_);
  const float* start = values.data();
  network_ = {d,
              inputs,
              inputs,
              width,
              shape.beta,
              start + weight1,
              start + bias1,
              start + weight2,
              start + bias2,
              start + weight3,
              start + bias3};
  sums_floats_ = round_up(int64_t(inputs) * width + width * width + 3 * width + 1, kAlign);
  tile_floats_ = int64_t(kTile) * (3 * inputs + d * (inputs - d) + 3 * width + d);
  for (int i = 0; i < shape.threads; i++) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->scratch = Floats(kernels_.scratch);
    workers_.back()->tile = Floats(tile_floats_);
  }
}

void Core::set_level_weights(const float* weights) {
  const Lock lock(mutex_);
  for (size_t i = 0; i < shape_.levels.size(); i++)
    if (!(weights[i] >= 0 && weights[i] <= 1)) throw std::invalid_argument("level_weights must be in [0, 1]");
  network_.used = shape_.dimension;
  for (size_t i = 0; i < shape_.levels.size(); i++) {
    if (shape_.levels[i].weight != weights[i]) {
      pending_ = -1;
      derived_ = false;
    }
    shape_.levels[i].weight = weights[i];
    if (weights[i] != 0) network_.used = shape_.dimension + int(i + 1) * shape_.features;
  }
}

std::vector<float> Core::level_weights() const {
  const Lock lock(mutex_);
  std::vector<float> weights;
  for (const Level& level : shape_.levels) weights.push_back(level.weight);
  return weights;
}

int64_t Core::step_count() const {
  const Lock lock(mutex_);
  return step_count_;
}

void Core::set_step_count(int64_t count) {
  const Lock lock(mutex_);
  step_count_ = count;
}

std::array<double, Core::kPhases> Core::phase_seconds() const {
  const Lock lock(mutex_);
  std::array<double, kPhases> total{};
  for (const auto& worker : workers_)
    for (size_t i = 0; i < kPhases; i++) total[i] += worker->seconds[i] / shape_.threads;
  return total;
}

void Core::clock(Worker& worker, Phase phase) {
  const auto now = std::chrono::steady_clock::now();
  worker.seconds[phase] += std::chrono::duration<double>(now - worker.mark).count();
  worker.mark = now;
}

void Core::reserve(int64_t tiles) {
  if (tiles * tile_floats_ > tiles_.size()) tiles_ = Floats(tiles * tile_floats_);
  if (tiles * kTile > df_.size()) df_ = Floats(tiles * kTile);
  if (sums_.size() == 0) sums_ = Floats(kGroups * sums_floats_);
}

Tile Core::tile_in(float* start) const {
  const int64_t inputs = int64_t(network_.inputs) * kTile, d = shape_.dimension;
  Tile tile{};
  tile.inputs = start;
  tile.jacobian = tile.inputs + inputs;
  tile.sensitivity = tile.jacobian + d * (inputs - d * kTile);
  tile.hidden = tile.sensitivity + inputs;
  tile.dgradient = tile.hidden + 3 * shape_.width * kTile;
  tile.dinputs = tile.dgradient + d * kTile;
  return tile;
}

Sums Core::sums_in(float* start) const {
  const int64_t width = shape_.width;
  Sums sums{};
  sums.weight1 = start;
  sums.weight2 = sums.weight1 + network_.inputs * width;
  sums.bias1 = sums.weight2 + width * width;
  sums.bias2 = sums.bias1 + width;
  sums.weight3 = sums.bias2 + width;
  sums.bias3 = sums.weight3 + width;
  return sums;
}

// kTile points from number `first` as rows of coordinates; those beyond n are at the origin.
void Core::load_points(const float* x, int64_t first, int64_t n, float* rows) const {
  const int d = shape_.dimension;
  for (int p = 0; p < kTile; p++)
    for (int a = 0; a < d; a++) rows[a * kTile + p] = first + p < n ? x[(first + p) * d + a] : 0;
}

// Writes the first n of a tile's rows to `out` as points.
static void store_points(const float* rows, int d, int64_t first, int64_t n, float* out) {
  const int count = int(std::min<int64_t>(kTile, n - first));
  for (int p = 0; p < count; p++)
    for (int a = 0; a < d; a++) out[(first + p) * d + a] = rows[a * kTile + p];
}

// Features of the levels that are on; those of a level that is off, below one that is on, are 0.
void Core::encode(const Tile& tile, bool with_jacobian) const {
  const int d = shape_.dimension, features = shape_.features, all = network_.inputs - d;
  const float* table = values.data() + table_start_;
  for (int l = 0; d + l * features < network_.used; l++) {
    const Level& level = shape_.levels[size_t(l)];
    float* value = tile.inputs + (d + l * features) * kTile;
    float* jacobian = tile.jacobian + l * features * kTile;
    if (level.weight != 0) {
      kernels_.encode(level, shape_.bound, table, tile.inputs, value, with_jacobian ? jacobian : nullptr,
                      all * kTile);
      continue;
    }
    const size_t bytes = sizeof(float) * size_t(features * kTile);
    memset(value, 0, bytes);
    for (int a = 0; a < d; a++) memset(jacobian + a * all * kTile, 0, bytes);
  }
}

void Core::forward(const float* x, int64_t n, float* f, float* g) {
  const Lock lock(mutex_);
  const int64_t tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  reserve(tiles);
  ThreadPool::shared().run(int(tiles ? (tiles + size - 1) / size : 0), shape_.threads, [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    for (int64_t i = begin; i < end; i++) {
      load_points(x, i * kTile, n, tile(i).inputs);
      encode(tile(i), true);
    }
    clock(worker, kFeatures);
    for (int64_t i = begin; i < end; i++) {
      float value[kTile], slope[3 * kTile];
      kernels_.forward(network_, tile(i), value, slope, worker.scratch.data());
      store_points(value, 1, i * kTile, n, f);
      store_points(slope, shape_.dimension, i * kTile, n, g);
    }
    clock(worker, kMlp);
  });
  pending_ = n;
  derived_ = false;
}

void Core::backward(const float* df, int64_t df_count, const float* dg, int64_t dg_count) {
  const Lock lock(mutex_);
  if (pending_ < 0)
    throw std::runtime_error("backward needs a forward since the last adam or change of level_weights");
  for (const auto& [name, count] : {std::pair("df", df_count), std::pair("dg", dg_count)})
    if (count != pending_)
      throw std::invalid_argument(std::string(name) + " must be of length " + std::to_string(pending_) +
                                  ", as x of the last forward, not " + std::to_string(count));
  const int64_t n = pending_, tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  groups_ = int(tiles ? (tiles + size - 1) / size : 0);
  ThreadPool::shared().run(groups_, shape_.threads, [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    for (int64_t i = begin; i < end; i++) {
      load_points(dg, i * kTile, n, tile(i).dgradient);
      for (int64_t p = i * kTile; p < (i + 1) * kTile; p++) df_[p] = p < n ? df[p] : 0;
    }
    kernels_.backward(network_, tile(begin), tile_floats_, int(end - begin), df_.data() + begin * kTile,
                      sums_in(sums_.data() + group * sums_floats_), worker.scratch.data());
    clock(worker, kMlp);
  });
  derived_ = true;
}

void Core::evaluate(const float* x, int64_t n, float* f, float* g) {
  const Lock lock(mutex_);
  constexpr int64_t size = 8;  // tiles a task
  const int64_t tiles = (n + kTile - 1) / kTile;
  ThreadPool::shared().run(int((tiles + size - 1) / size), shape_.threads, [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const Tile tile = tile_in(worker.tile.data());
    for (int64_t i = group * size; i < std::min((group + 1) * size, tiles); i++) {
      float value[kTile], slope[3 * kTile];
      load_points(x, i * kTile, n, tile.inputs);
      encode(tile, g != nullptr);
      if (g) {
        kernels_.forward(network_, tile, value, slope, worker.scratch.data());
        store_points(slope, shape_.dimension, i * kTile, n, g);
      } else {
        kernels_.value(network_, tile.inputs, value, worker.scratch.data());
      }
      store_points(value, 1, i * kTile, n, f);
    }
  });
}

}  // namespace igr
