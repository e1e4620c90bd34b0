//! Scalar programs as a list of instructions over registers.

use crate::dtype::Compute;

/// One instruction with its registers.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Number of the operation: `OPCODES` in src/programs/opcodes.ts, the constants of [`op`].
    pub op: u16,
    /// Type of the operands.
    pub from: Compute,
    /// Type of the result.
    pub to: Compute,
    pub dst: u16,
    pub args: [u16; 4],
    /// Code of a check; word of a threefry; 2 for both, or for erfc with e^-x², the other into `second`.
    pub extra: u16,
    pub second: u16,
}

/// A register that is the same for all points.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    pub slot: u16,
    pub dtype: Compute,
    /// Number of the runtime parameter, if it is one.
    pub param: Option<usize>,
    pub value: f64,
}

/// A program. Registers are numbered: inputs, coordinates, temporaries, scalars.
#[derive(Debug)]
pub struct Program {
    pub inputs: Vec<Compute>,
    /// Axes of the coordinates, counted from the end.
    pub axes: Vec<i32>,
    pub scalars: Vec<Scalar>,
    pub instructions: Vec<Instruction>,
    pub slots: usize,
    pub first_scalar: usize,
    /// Register of each output.
    pub results: Vec<u16>,
    pub result_dtypes: Vec<Compute>,
    /// Least number of runtime parameters of a call.
    pub params: usize,
    /// Guess of nanoseconds a point.
    pub cost: f64,
}

impl Program {
    /// A program of numbers as src/programs/programs.ts writes them.
    ///
    /// # Errors
    /// Where they are no program: the text says what is wrong.
    pub fn decode(words: &[f64]) -> Result<Program, String> {
        let mut words = Words { words, at: 0 };
        let inputs = words.count()?;
        let outputs = words.count()?;
        let coordinates = words.count()?;
        let scalars = words.count()?;
        let instructions = words.count()?;
        let slots = words.count()?;
        let first_scalar = words.count()?;
        let cost = words.next()?;
        let inputs = (0..inputs).map(|_| words.compute()).collect::<Result<_, _>>()?;
        let axes = (0..coordinates).map(|_| Ok(words.next()? as i32)).collect::<Result<_, String>>()?;
        let results: Vec<u16> = (0..outputs).map(|_| words.slot(slots)).collect::<Result<_, _>>()?;
        let result_dtypes = (0..outputs).map(|_| words.compute()).collect::<Result<_, _>>()?;
        let mut params = 0;
        let scalars = (0..scalars)
            .map(|_| {
                let slot = words.slot(slots)?;
                let dtype = words.compute()?;
                let param = words.next()?;
                let param = (param >= 0.0).then_some(param as usize);
                params = params.max(param.map_or(0, |param| param + 1));
                Ok(Scalar { slot, dtype, param, value: words.next()? })
            })
            .collect::<Result<_, String>>()?;
        let instructions: Vec<Instruction> = (0..instructions)
            .map(|_| {
                Ok(Instruction {
                    op: words.count()? as u16,
                    from: words.compute()?,
                    to: words.compute()?,
                    dst: words.slot(slots)?,
                    args: [words.slot(slots)?, words.slot(slots)?, words.slot(slots)?, words.slot(slots)?],
                    extra: words.count()? as u16,
                    second: words.slot(slots)?,
                })
            })
            .collect::<Result<_, String>>()?;
        let program =
            Program { inputs, axes, scalars, instructions, slots, first_scalar, results, result_dtypes, params, cost };
        program.check()?;
        Ok(program)
    }

    /// What the interpreter relies on: no instruction writes over an operand, an input, a coordinate or a scalar.
    fn check(&self) -> Result<(), String> {
        let leaves = self.inputs.len() + self.axes.len();
        let is_temporary = |slot: u16| (leaves..self.first_scalar).contains(&(slot as usize));
        for one in &self.instructions {
            let both = matches!(one.op, op::THREEFRY | op::ERFC) && one.extra == 2;
            let checks = one.op == op::CHECK;
            if !checks && (!is_temporary(one.dst) || one.args.contains(&one.dst)) {
                return Err(format!("instruction {one:?} writes where it reads"));
            }
            if both && (!is_temporary(one.second) || one.args.contains(&one.second) || one.second == one.dst) {
                return Err(format!("instruction {one:?} writes where it reads"));
            }
        }
        if self.scalars.iter().any(|scalar| (scalar.slot as usize) < self.first_scalar) {
            return Err("a scalar has a temporary's register".into());
        }
        Ok(())
    }

    /// Whether a register belongs to an instruction, and may be computed anywhere.
    pub fn is_temporary(&self, slot: u16) -> bool {
        (self.inputs.len() + self.axes.len()..self.first_scalar).contains(&(slot as usize))
    }
}

struct Words<'a> {
    words: &'a [f64],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Result<f64, String> {
        let word = self.words.get(self.at).copied().ok_or("the program is too short")?;
        self.at += 1;
        Ok(word)
    }

    fn count(&mut self) -> Result<usize, String> {
        let word = self.next()?;
        if (0.0..=65535.0).contains(&word) {
            Ok(word as usize)
        } else {
            Err(format!("{word} is no count"))
        }
    }

    fn slot(&mut self, slots: usize) -> Result<u16, String> {
        let slot = self.count()?;
        if slot < slots {
            Ok(slot as u16)
        } else {
            Err(format!("register {slot} of {slots}"))
        }
    }

    fn compute(&mut self) -> Result<Compute, String> {
        let code = self.count()?;
        Compute::from_code(code).ok_or_else(|| format!("{code} is no type"))
    }
}

/// Numbers of operations, in the order of `OPCODES` in src/programs/opcodes.ts.
pub mod op {
    macro_rules! number {
        ($($name:ident)*) => { number!(@ 0; $($name)*); };
        (@ $n:expr; $head:ident $($tail:ident)*) => { pub const $head: u16 = $n; number!(@ $n + 1; $($tail)*); };
        (@ $n:expr;) => {};
    }
    number! {
        MOVE SELECT CHECK CAST BITCAST THREEFRY ADD SUB MUL DIV FLOOR_DIV MOD POW MAX MIN ATAN2 AND OR XOR SHL SHR EQ NE
        LT LE NEG ABS SIGN NOT IS_NAN IS_INF FLOOR CEIL ROUND TRUNC SQRT EXP EXPM1 LOG LOG1P LOG2 SIN COS TAN ASIN ACOS
        ATAN SINH COSH TANH ASINH ACOSH ATANH ERF ERFC
    }
}
