// Child processes with their output, and durations for people.
import { spawn } from "node:child_process";
import { root } from "./workspace.mjs";

// turbo and others report anonymous use unless told not to; a set-up nobody watches should not.
const QUIET_ENV = { TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" };
// Several tools colour their output as soon as CI is set; a log file is better without.
const COLOR_ENV = process.stdout.isTTY || process.env.FORCE_COLOR ? {} : { NO_COLOR: "1" };

/**
 * Runs a command and resolves with `{ code, output, milliseconds }`; never rejects.
 *
 * @param command program
 * @param args arguments
 * @param options `echo`: a stream that also gets the output as it comes; `env`; `cwd`; `timeout` in ms
 */
export function run(command, args, { echo, env = {}, cwd = root, timeout } = {}) {
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...QUIET_ENV, ...COLOR_ENV, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      // npx is a script on Windows, which only a shell can start.
      shell: process.platform === "win32" && command === "npx",
    });
    let output = "";
    const collect = (chunk) => {
      output += chunk;
      echo?.write(chunk);
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    const timer =
      timeout &&
      setTimeout(() => {
        collect(`\nstopped after ${seconds(timeout)}\n`);
        child.kill("SIGKILL");
      }, timeout);
    const finish = (code) => {
      clearTimeout(timer);
      resolve({ code, output, milliseconds: performance.now() - started });
    };
    child.on("error", (error) => {
      collect(`${command}: ${error.message}\n`);
      finish(127);
    });
    child.on("close", (code) => finish(code ?? 1));
  });
}

/** Runs a JavaScript file with the Node that runs this script. */
export const runNode = (file, args = [], options = {}) => run(process.execPath, [file, ...args], options);

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
