import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { ROOT } from './block.ts'

/** One shell in surroundings of its own (`alone`), in which the commands of a page are run one after the other. */
export interface Shell {
  /** Runs a command in the shell itself. @returns what it printed, and whether any line of it failed */
  run(command: string): Promise<{ readonly printed: string; readonly failed: boolean }>
  end(): Promise<void>
}

const ALONE = `${ROOT}test/pages/alone`
// What hangs is ended after this.
const COMMAND_MS = 180_000
const END = 'end-of-this-command'

/** Needs root. */
export function openShell(): Shell {
  const child = spawn(ALONE, [process.execPath], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', METABIND_SOCKET: undefined },
  })
  const output = collect(child)
  child.stdin.write('exec 2>&1\n')
  return {
    run: async (command) => {
      // Braces keep it in this shell; what reads its input must not read the next command.
      child.stdin.write(`failed=0; trap 'failed=1' ERR\n{ ${command}\n} </dev/null\n`)
      child.stdin.write(`trap - ERR; printf '%s %s\\n' ${END} "$failed"\n`)
      const [all, printed = '', failed] = await output.until(END_LINE, command)
      output.forget(all.length)
      return { printed, failed: failed === '1' }
    },
    end: async () => {
      if (child.exitCode !== null) return
      const ended = once(child, 'exit')
      child.stdin.end()
      child.kill('SIGTERM')
      await ended
    },
  }
}

const END_LINE = new RegExp(`^([^]*?)${END} (\\d)\\n`)

function collect(child: ChildProcess) {
  let text = ''
  let look = () => {}
  const take = (chunk: Buffer) => {
    text += chunk
    look()
  }
  child.stdout?.on('data', take)
  child.stderr?.on('data', take)
  child.once('exit', () => look())
  return {
    forget: (length: number) => {
      text = text.slice(length)
    },
    until: (wanted: RegExp, command: string) =>
      new Promise<RegExpExecArray>((resolve, reject) => {
        const give = (why: string) => reject(new Error(`${why}: ${command}\n${text}`))
        const timer = setTimeout(() => give('has not ended'), COMMAND_MS)
        look = () => {
          const found = wanted.exec(text)
          if (found === null && child.exitCode === null) return
          clearTimeout(timer)
          if (found === null) give('the shell has ended')
          else resolve(found)
        }
        look()
      }),
  }
}
