"""What is drawn, a module for each subject; `style` is what all figures share."""
