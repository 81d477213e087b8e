import { type ComponentChild, h } from 'preact'
import type { Snapshot } from '../admin-api.ts'
import { panel } from './panel.ts'
import { shown } from './words.ts'

const FULL: Readonly<Record<string, string>> = {
  anchor: 'who vouches for the TPM',
  EK: 'endorsement key',
  AK: 'attestation key',
  RK: 'root of token keys',
  BK: 'key of this boot',
  SK: 'signing key',
  document: 'the cloud’s document',
}
const VERDICTS: Readonly<Record<string, readonly [mark: string, words: string]>> = {
  proven: ['✓', 'proven'],
  'not-proven': ['–', 'not proven'],
  refused: ['✕', 'refused'],
}

/** The chain of proof: each link hangs on the one before it. */
export function proofPanel({ proof }: Snapshot): ComponentChild {
  const links = proof.map(({ name, verdict, sentence }) => {
    const isKnown = Object.hasOwn(VERDICTS, verdict)
    const [mark, words] = (isKnown ? VERDICTS[verdict] : undefined) ?? ['?', shown(verdict)]
    return h(
      'li',
      { key: name, class: isKnown ? verdict : 'not-proven' },
      h('span', { class: 'mark', 'aria-hidden': 'true' }, mark),
      h(
        'div',
        null,
        h('strong', null, shown(name)),
        h('span', { class: 'verdict' }, words),
        h('span', { class: 'full' }, Object.hasOwn(FULL, name) ? FULL[name] : ''),
        h('p', null, shown(sentence)),
      ),
    )
  })
  return panel('proof', 'Chain of proof', h('ol', { class: 'chain' }, links))
}
