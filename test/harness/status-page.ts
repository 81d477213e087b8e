import { onTestFinished } from 'vitest'
import type { Snapshot } from '../../src/admin-api.ts'
import { UI_PATHS } from '../../src/ui-paths.ts'
import { type Chromium, startChromium } from '../browser/chromium.ts'
import type { Target } from './attack.ts'
import { eventually } from './metabind.ts'
import { packagedMetabind } from './packaged-command.ts'
import { openUi, type RunningUi, startUi } from './ui.ts'

/** The status page of the package, as root has it, and a browser. */

/** Starts `metabind ui`, until the test ends. */
export async function ownStatusPage(
  target: Pick<Target, 'adminSocket'>,
  args: readonly string[] = [],
): Promise<RunningUi> {
  const ui = await startUi(target, args, [packagedMetabind()])
  onTestFinished(ui.stop)
  return ui
}

/** What the page is told first, once it is told anything. */
export function firstEvent(
  ui: RunningUi,
  headers: Readonly<Record<string, string>>,
): Promise<Snapshot | undefined> {
  return eventually(
    () => readEvent(ui, headers).catch(() => undefined),
    (event) => event !== undefined,
  )
}

async function readEvent(ui: RunningUi, headers: Readonly<Record<string, string>>) {
  const answer = await openUi(ui, UI_PATHS.events, { headers })
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) {
    text += chunk
    if (text.includes('\n\n')) break
  }
  answer.destroy()
  return JSON.parse(text.slice('data: '.length, text.indexOf('\n\n')))
}

/** A browser, until the test ends. */
export async function ownBrowser(...more: readonly string[]): Promise<Chromium> {
  const chromium = await startChromium(...more)
  onTestFinished(() => chromium[Symbol.asyncDispose]())
  return chromium
}
