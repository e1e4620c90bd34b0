// Scalar programs as TypeScript encodes them (src/programs/), and the block interpreter's interface (interpret.c).
#pragma once
#include "nf.h"

// Points computed at once.
#define BLOCK 1024
#define MAX_SLOTS 1000

// Operations, numbered like OPCODES in src/programs/.
enum {
  OP_MOVE, OP_SELECT, OP_CHECK, OP_CAST, OP_BITCAST, OP_THREEFRY, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD,
  OP_POW, OP_MAX, OP_MIN, OP_ATAN2, OP_AND, OP_OR, OP_XOR, OP_SHL, OP_SHR, OP_EQ, OP_NE, OP_LT, OP_LE, OP_NEG, OP_ABS,
  OP_SIGN, OP_NOT, OP_ISNAN, OP_ISINF, OP_FLOOR, OP_CEIL, OP_ROUND, OP_TRUNC, OP_SQRT, OP_EXP, OP_EXPM1, OP_LOG,
  OP_LOG1P, OP_LOG2, OP_SIN, OP_COS, OP_TAN, OP_ASIN, OP_ACOS, OP_ATAN, OP_SINH, OP_COSH, OP_TANH, OP_ASINH, OP_ACOSH,
  OP_ATANH, OP_ERF, OP_ERFC,
};

// Dtypes programs compute in. Bool values are masks: all ones or all zeros in 32 bits.
enum { C_F32, C_F64, C_I32, C_U32, C_BOOL };

typedef struct Instruction {
  u16 op, from, to; // operation, dtype of the operands and of the result
  u16 dst, a, b, c, d;
  u16 extra; // check code; threefry: word, or 2 for both (the second into `second`); erfc: 2 for e^-x² into `second` too
  u16 second;
} Instruction;

// A register that is the same for all points.
typedef struct Scalar {
  u32 slot, dtype;
  i32 param; // number of the runtime parameter, or -1
  u32 unused;
  f64 value;
} Scalar;

// Slots are numbered: inputs, coordinates, temporaries, scalars.
typedef struct Program {
  u32 inputs, outputs, coordinates, scalars, instructions, slots, first_scalar;
  f32 cost; // guess of nanoseconds a point
  const i32 *axes;   // of the coordinates, counted from the end
  const u32 *result; // slot of each output
  const u32 *result_dtype;
  const u32 *input_dtype;
  const u32 *last_read;  // for each output: whether nothing reads an input after its instruction
  const Scalar *scalar;
  const Instruction *instruction;
  struct Emitted *emitted; // the program as a WASM function, or NULL
} Program;

// A program that was compiled to a function: a place in the function table, which each thread fills for itself.
typedef struct Emitted {
  u32 index;
  const u8 *module; // bytes of the module that exports the function
  u32 bytes;
  u8 state[64];     // by thread: EMITTED_…
} Emitted;
enum { EMITTED_NOT_LOADED, EMITTED_LOADED, EMITTED_FAILED };

// Registers of one thread: the address of each slot's values.
typedef struct Registers {
  u32 block; // points computed at once
  u8 *slot[MAX_SLOTS];
} Registers;

// Gives every slot memory of the thread, and fills the scalars for blocks of at most `points`.
void prepare_registers(Registers *registers, const Program *program, const f64 *params, u32 points, u32 thread);

// Computes the first `count` points. Slots hold at least `count` values rounded up to a multiple of 4, and as many are
// written.
void interpret(const Program *program, u8 *const *slot, u32 count);

// An instruction that interpret() leaves to functions.c: of floats, `count` points and no more.
void apply_function(const Instruction *in, const u8 *pa, const u8 *pb, u8 *pt, u32 count);

// The same as interpret(), by the program's function where there is one.
void run_program(const Program *program, u8 *const *slot, u32 count, u32 thread);

// A space that views are walked in, in row-major order; see walk.c.
typedef struct Space {
  u32 rank, views;
  u32 size;
  i32 shape[MAX_RANK];
  i32 *strides;      // by view, MAX_RANK each
  u8 **data;         // by view
  u32 *dtype;        // by view
  u32 *linear;       // by view: whether the elements follow one another without gaps
  i32 *dimensions;   // by coordinate: the dimension, or -1 where it is always 0
} Space;

// The merged space of a call's views (inputs, then outputs). `shape` is the common shape; where `reduced` is not NULL,
// outputs stand still along the axes it marks.
void make_space(Space *space, const Call *call, u32 rank, const i32 *shape, const u8 *reduced);

// Puts the dimensions into another order: dimension i becomes old dimension order[i].
void reorder_space(Space *space, const u32 *order, u32 coordinates);

// Where input `view` lies for the points from `start`: an address that holds them as the program computes them, which is
// `slot` unless they can be read in place.
const u8 *fetch(const Space *space, u32 view, u32 start, u32 count, u8 *slot);

// Fills a slot with coordinates along a dimension.
void fetch_coordinate(const Space *space, i32 dimension, u32 start, u32 count, i32 *slot);

// Where to compute output `view` for these points: in place, or NULL where they must go through a register and put().
u8 *place(const Space *space, u32 view, u32 start, u32 count);
void put(const Space *space, u32 view, u32 start, u32 count, const u8 *slot);

// Points from `start` that are best computed at once: at most `block`, and not beyond a long row's end.
u32 block_length(const Space *space, u32 start, u32 end, u32 block);
