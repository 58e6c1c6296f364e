//! Text in columns, as wide as their widest entry; for people.

/// Lines of equally many entries; the first is the heading. The last column is not padded.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(cell);
            let pad = width(column).unwrap_or(0).saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["ID".to_owned(), "NAME".to_owned()], vec!["1".to_owned(), "münchen".to_owned()]];
        assert_eq!(columns(&rows), "ID  NAME\n1   münchen\n");
    }
}
