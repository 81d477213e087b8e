/** A link or picture of a page, within the folder that it is in. */
export interface PageLink {
  /** Relative to the page; empty if it leads into the page itself. */
  readonly path: string
  readonly anchor: string | undefined
}

/** Where a page leads, but for other hosts; what stands in its examples is none of it. */
export function linksIn(markdown: string): PageLink[] {
  const text = withoutExamples(markdown)
  const links = [
    ...text.matchAll(/\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)/g),
    ...text.matchAll(/\b(?:href|src|srcset)="(?!\w+:)([^"#]*)(?:#([^"]+))?"/g),
  ]
  return links.map(([, path = '', anchor]) => ({ path, anchor }))
}

function withoutExamples(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, '').replace(/`[^`\n]*`/g, '')
}
