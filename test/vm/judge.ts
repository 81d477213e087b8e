import type { Boot, Listener } from './guest.ts'

/** What the guests of a run said, counted and told while it is said. */

const KINDS: Readonly<Record<string, string>> = {
  ok: 'ok -',
  fail: 'NOT OK -',
  note: 'note -',
  step: '...',
}

const started = Date.now()
const failures: string[] = []
let passes = 0

export function counted(): { readonly passed: number; readonly failed: readonly string[] } {
  return { passed: passes, failed: failures }
}

export function say(text: string): void {
  const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(4)
  process.stdout.write(`${seconds} s  ${text}\n`)
}

/** Of one boot. */
export class Judge implements Listener {
  readonly #name: string
  #hasEnded = false
  #passed = 0
  #isFailing = false

  constructor(name: string) {
    this.#name = name
  }

  line(text: string): void {
    const [, kind, what = ''] = /^@(ok|fail|note|step|end) ?(.*)$/.exec(text) ?? []
    if (kind === 'ok') {
      passes += 1
      this.#passed += 1
    }
    if (kind === 'fail') failures.push(`${this.#name}: ${what}`)
    if (kind === 'end') this.#hasEnded = true
    else if (kind !== undefined) this.#say(`${KINDS[kind]} ${what}`)
    this.#isFailing = kind === 'fail' || (this.#isFailing && text.startsWith('  '))
    if (this.#isFailing && kind === undefined) this.#say(text)
  }

  silent(seconds: number, console: readonly string[]): void {
    this.#say(`... silent for ${seconds} s; its console:`)
    for (const line of console) this.#say(`  | ${line}`)
  }

  async of(boot: Boot): Promise<void> {
    let console: readonly string[] = []
    try {
      console = await boot.ended
    } catch (error) {
      console = [String(error)]
    }
    // One that says nothing good has not read its scripts.
    if (this.#hasEnded && this.#passed > 0) return
    failures.push(`${this.#name}: did not come to its end`)
    this.silent(0, console)
  }

  #say(text: string): void {
    say(`${this.#name}: ${text}`)
  }
}
