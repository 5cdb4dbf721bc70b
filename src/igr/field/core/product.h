// Products of small matrices, blocked in registers: a block of `Rows` rows times `Vectors` vectors of columns is
// summed over the whole inner dimension without touching memory but for the operands.
#pragma once

#include "vector.h"

namespace igr::IGR_VARIANT {

// The left operand, read number by number: element (row, k) is data[row * row_step + k * inner_step].
struct Scalars {
  const float* data;
  int row_step, inner_step;
};

template <int Rows, int Vectors>
struct Block {
  int row, column;  // of the block's first element in the whole product
  Floats sum[Rows][Vectors];

  // Adds a(rows of the block, 0..inner) times b(0..inner, columns of the block), b's rows `b_step` floats apart.
  IGR_INLINE void add(Scalars a, const float* b, int b_step, int inner) {
    const float* left = a.data + int64_t(row) * a.row_step;
    b += column;
    for (int k = 0; k < inner; k++, left += a.inner_step, b += b_step) {
      Floats right[Vectors];
#pragma GCC unroll 16
      for (int c = 0; c < Vectors; c++) right[c] = load(b + c * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++) {
        const Floats factor = all(left[int64_t(r) * a.row_step]);
#pragma GCC unroll 16
        for (int c = 0; c < Vectors; c++) sum[r][c] += factor * right[c];
      }
    }
  }

  // Calls use(row, column, vector) for every vector of the block.
  template <class Use>
  IGR_INLINE void each(Use use) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
      for (int c = 0; c < Vectors; c++) use(row + r, column + c * kLanes, sum[r][c]);
  }
};

template <int Columns>
struct Blocking {
  static constexpr int total = Columns / kLanes;
  static constexpr int vectors = total % 3 == 0                       ? 3
                                 : kRegisters == 32 && total % 4 == 0 ? 4
                                 : total % 2 == 0                     ? 2
                                                                      : 1;
  // All sums, a row of the right operand and one factor stay in registers.
  static constexpr int room = (kRegisters - vectors - 1) / vectors;
  static constexpr int rows = room < 8 ? room : 8;
  static_assert(Columns % kLanes == 0 && rows >= 1, "columns must be whole vectors");
};

template <int Rows, int Vectors, class Use>
IGR_INLINE void last_rows(int row, int column, int rest, Use& use) {
  if constexpr (Rows > 0) {
    if (rest == Rows) {
      Block<Rows, Vectors> block{row, column, {}};
      use(block);
    } else {
      last_rows<Rows - 1, Vectors>(row, column, rest, use);
    }
  }
}

// Calls use(block) for zeroed blocks that cover `rows` x Columns.
template <int Columns, class Use>
IGR_INLINE void in_blocks(int rows, Use use) {
  using Shape = Blocking<Columns>;
  for (int column = 0; column < Columns; column += Shape::vectors * kLanes) {
    int row = 0;
    for (; row + Shape::rows <= rows; row += Shape::rows) {
      Block<Shape::rows, Shape::vectors> block{row, column, {}};
      use(block);
    }
    last_rows<Shape::rows - 1, Shape::vectors>(row, column, rows - row, use);
  }
}

// use(row, column, vector) for every vector of a(rows, inner) · b(inner, Columns). A function of its own, so that
// the caller's constants do not take registers from the block.
template <int Columns, class Use>
__attribute__((noinline)) void product(int rows, Scalars a, const float* b, int inner, Use use) {
  in_blocks<Columns>(rows, [&](auto& block) IGR_INLINED {
    block.add(a, b, Columns, inner);
    block.each(use);
  });
}

}  // namespace igr::IGR_VARIANT
