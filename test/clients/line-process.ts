import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const ANSWER_MS = 20_000

/** A process that answers each line of JSON with one. */
export interface LineProcess<Answer> {
  ask(question: object | null): Promise<Answer>
  end(): Promise<void>
}

export function startLineProcess<Answer>(command: readonly string[]): LineProcess<Answer> {
  const [file = '', ...args] = command
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    ask: async (question) => {
      child.stdin.write(`${JSON.stringify(question)}\n`)
      const timer = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS)
      const { value } = await lines.next()
      clearTimeout(timer)
      return JSON.parse(value ?? '{"error":"the application ended"}')
    },
    end: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}
